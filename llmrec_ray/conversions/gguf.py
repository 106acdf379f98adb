"""From a GGUF file to a folder with bfloat16 safetensors, tokenizer and chat template, for vLLM."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# transformers has types in part

from pathlib import Path


def convert(source: Path, target: Path) -> None:
    """Dequantise the language model in `source` into the existing folder `target`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder, name = str(source.parent), source.name
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    tokenizer.save_pretrained(target)
