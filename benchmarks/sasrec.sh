#!/bin/sh
# Installs the peer SASRec, which wants another numpy, into an environment of its own (1 GB).
# sh benchmarks/sasrec.sh [FOLDER], then --sasrec-python FOLDER/bin/python
set -eu
folder="${1:-var/sasrec}"
python3 -m venv "$folder"
"$folder/bin/pip" install -q RecTools==0.19.0 pytorch-lightning==2.5.2 torch==2.13.0 torchmetrics==1.9.0 \
    numpy==1.26.4 pandas==2.3.3 scipy==1.17.1
"$folder/bin/python" -c "from rectools.models import SASRecModel"
