"""Writes gguf_py.gguf: a small file of every kind of value, made by gguf-py and not by picolm (pip install gguf).

Read by core/gguf/tests/roundtrip.rs, which states the same contents again.
"""

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter

out = Path(__file__).with_name("gguf_py.gguf")
writer = GGUFWriter(out, "llama")
writer.add_custom_alignment(64)
writer.add_uint8("t.u8", 255)
writer.add_int8("t.i8", -128)
writer.add_uint16("t.u16", 65535)
writer.add_int16("t.i16", -32768)
writer.add_uint32("t.u32", 4294967295)
writer.add_int32("t.i32", -2147483648)
writer.add_float32("t.f32", 0.1)
writer.add_uint64("t.u64", 18446744073709551615)
writer.add_int64("t.i64", -9223372036854775808)
writer.add_float64("t.f64", 0.1)
writer.add_bool("t.bool", True)
writer.add_string("t.string", "naïve 🦙")
writer.add_key_value("t.strings", ["", "a", "▁b"], GGUFValueType.ARRAY, GGUFValueType.STRING)
writer.add_key_value("t.i32s", [1, -1], GGUFValueType.ARRAY, GGUFValueType.INT32)
writer.add_key_value("t.f32s", [0.5, -0.0], GGUFValueType.ARRAY, GGUFValueType.FLOAT32)
writer.add_tensor("norm", np.array([1.0, 2.0, 3.0], dtype=np.float32))
writer.add_tensor("half", np.array([[1.0], [-2.0]], dtype=np.float16))
# Two rows of 64 weights: 2 blocks of 18 bytes each.
writer.add_tensor("q4", np.arange(72, dtype=np.uint8).reshape(2, 36), raw_dtype=GGMLQuantizationType.Q4_0)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
