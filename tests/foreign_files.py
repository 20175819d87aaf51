"""Files of other tools as tests need them: recorded ones, small ones built byte by byte, and random changes of them."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
from mutated_files import change_value

RECORDED = Path(__file__).parent / "data" / "foreign"


# PyTorch: https://github.com/pytorch/pytorch/blob/main/torch/serialization.py


def torch_zip(pickled, storages, byteorder=b"little", stem="archive"):
    """Return the zip file that ``torch.save`` writes, of a pickle and the bytes of storages."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{stem}/data.pkl", pickled)
        archive.writestr(f"{stem}/byteorder", byteorder)
        for key, data in storages.items():
            archive.writestr(f"{stem}/data/{key}", data)
        archive.writestr(f"{stem}/version", b"3\n")
    return file.getvalue()


def _short_text(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _whole(number):
    return b"J" + struct.pack("<i", number)


def pickled_tensor(key, size, shape, strides, offset=0, storage="FloatStorage"):
    """Return the opcodes of a tensor."""
    storage = b"(" + _short_text("storage") + f"ctorch\n{storage}\n".encode() + _short_text(key) + _short_text("cpu")
    storage += _whole(size) + b"tQ"
    sizes = b"(" + b"".join(map(_whole, shape)) + b"t"
    steps = b"(" + b"".join(map(_whole, strides)) + b"t"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + _whole(offset) + sizes + steps + b"\x89"
    return call + b"ccollections\nOrderedDict\n)RtR"


def pickled_dict(entries):
    """Return a pickle of a dict: opcodes by text."""
    return b"\x80\x02}(" + b"".join(_short_text(name) + code for name, code in entries.items()) + b"u."


def torch_file(tensors, byteorder="little"):
    """Return the file of ``torch.save`` of a dict of arrays."""
    storages, codes = {}, {}
    kinds = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage"}
    for number, (name, array) in enumerate(tensors.items()):
        kind = kinds[array.dtype.str[1:]]
        order = "<" if byteorder == "little" else ">"
        storages[str(number)] = np.ascontiguousarray(array, array.dtype.newbyteorder(order)).tobytes()
        steps = [int(np.prod(array.shape[place + 1 :])) for place in range(array.ndim)]
        codes[name] = pickled_tensor(str(number), array.size, array.shape, steps, storage=kind)
    return torch_zip(pickled_dict(codes), storages, byteorder.encode())


class Evil:
    """An object whose pickle would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def evil_pickle(path, protocol=2):
    """Return a pickle of a state dict with an object that runs code."""
    return pickle.dumps({"0.weight": Evil(path)}, protocol)


# safetensors: https://github.com/huggingface/safetensors


def safetensors_file(tensors, **metadata):
    """Return the file of arrays by name; pairs (code, array) have a code of their own."""
    codes = {"f4": "F32", "f8": "F64", "f2": "F16", "i8": "I64"}
    header, body = {"__metadata__": metadata} if metadata else {}, b""
    for name, array in tensors.items():
        code, array = array if isinstance(array, tuple) else (codes[array.dtype.str[1:]], array)
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


# ONNX: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto


def _varint(number):
    number &= (1 << 64) - 1
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def message(*fields):
    """Return the bytes of a message: pairs (number, whole number or bytes or text)."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
        elif isinstance(value, float):
            out += _varint(number << 3 | 5) + struct.pack("<f", value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += _varint(number << 3 | 2) + _varint(len(value)) + value
    return out


def onnx_tensor(name, array):
    """Return a constant."""
    element = {"f4": 1, "f8": 11, "i8": 7}[array.dtype.str[1:]]
    return message(*((1, size) for size in array.shape), (2, element), (8, name), (9, array.tobytes()))


def onnx_node(operator, inputs, outputs, **attributes):
    """Return a node; attributes are floats, whole numbers or lists of these."""
    fields = [(1, each) for each in inputs] + [(2, each) for each in outputs] + [(3, f"the {operator}"), (4, operator)]
    for name, value in attributes.items():
        kinds = {float: [(2, value)], int: [(3, value)]}
        listed = [(8, each) for each in value] if isinstance(value, list) else kinds[type(value)]
        fields.append((5, message((1, name), *listed)))
    return message(*fields)


def _value(name, sizes, element):
    dimensions = [(1, message((1, size) if isinstance(size, int) else (2, size))) for size in sizes]
    return message((1, name), (2, message((1, message((1, element), (2, message(*dimensions)))))))


def onnx_file(nodes, constants, features, output="y", opset=17, element=1, inputs=("x",)):
    """Return the file of a graph from x (N, features) to an output.

    ``inputs`` may be a dict from name to (sizes without N, element type), and ``output`` a list of names.
    """
    given = inputs if isinstance(inputs, dict) else {name: ([features], element) for name in inputs}
    outputs = [output] if isinstance(output, str) else output
    graph = [(1, node) for node in nodes] + [(2, "graph")]
    graph += [(5, onnx_tensor(name, array)) for name, array in constants.items()]
    graph += [(11, _value(name, ["N", *sizes], kind)) for name, (sizes, kind) in given.items()]
    graph += [(12, _value(name, ["N", "M"], element)) for name in outputs]
    return message((1, 8), (2, "test"), (7, message(*graph)), (8, message((1, ""), (2, opset))))


# Changes


def changed_description(data, draw):
    """Return a ``.keras`` archive with a few random changes of its description, and then with the right checksum."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(contents["config.json"])
    for _ in range(draw.choice([1, 1, 2, 4])):
        change_value(config, draw)
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for name, part in {**contents, "config.json": json.dumps(config)}.items():
            archive.writestr(name, part)
    return changed.getvalue()


def changed_bytes(data, draw):
    """Return a file with a few random changes: bits, bytes, sizes, parts put in, taken out or repeated, a cut."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 4, 12])):
        if not changed:
            return b""
        place = draw.randrange(len(changed)) if draw.random() < 0.5 else draw.randrange(min(len(changed), 4000))
        kind = draw.randrange(8)
        if kind == 0:
            changed[place] = draw.randrange(256)
        elif kind == 1:
            changed[place] ^= 1 << draw.randrange(8)
        elif kind == 2:
            changed[place : place + 8] = draw.choice([b"\xff" * 8, bytes(8), b"\xff\xff\xff\x7f", b"\x80" * 9])
        elif kind == 3:
            del changed[place : place + draw.randrange(1, 20)]
        elif kind == 4:
            changed[place:place] = bytes(draw.randrange(256) for _ in range(draw.randrange(1, 9)))
        elif kind == 5:
            part = changed[place : place + draw.randrange(1, 200)]
            changed[place:place] = part * draw.choice([1, 1, 3, 50])
        elif kind == 6:
            other = draw.randrange(len(changed))
            changed[place : place + 16] = changed[other : other + 16]
        elif draw.random() < 0.2:
            del changed[place:]
    return bytes(changed)
