#!/bin/sh
# Installs the peers that benchmarks/search.py compares with into an environment of their own.
# sh benchmarks/peers.sh [FOLDER]
set -eu
folder="${1:-var/peers}"
python3 -m venv "$folder"
"$folder/bin/pip" install -q \
    chromadb==1.5.9 fastapi==0.136.3 numpy==2.4.6 "psycopg[binary]==3.3.9" qdrant-edge-py==0.9.0 \
    uvicorn==0.54.0
