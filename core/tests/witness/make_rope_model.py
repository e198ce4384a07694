"""Writes rope-factors.gguf: golden llama Q4_0 with what scaled Llamas have, a linear factor and the tensor rope_freqs.weight.

    pip install gguf numpy
    python make_rope_model.py ../golden/llama-Q4_0.gguf ../golden/rope-factors.gguf

Its digest in digests.json is witness.py's.
"""
import sys
import numpy as np
import gguf

reader = gguf.GGUFReader(sys.argv[1])
writer = gguf.GGUFWriter(sys.argv[2], "llama")
for field in reader.fields.values():
    if field.name.startswith("GGUF.") or field.name == "general.architecture":
        continue
    kind = field.types[0]
    sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
    writer.add_key_value(field.name, field.contents(), kind, sub_type=sub)
writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
writer.add_rope_scaling_factor(1.5)
for tensor in reader.tensors:
    writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
writer.add_tensor("rope_freqs.weight", np.linspace(1.0, 8.0, 32, dtype=np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
