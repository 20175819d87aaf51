"""Files of other libraries are named, and what is not a file is not read."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from mutated_files import put_together

import fastnn
from fastnn import ModelFormatError, layers


def foreign_files():
    """Return files of other libraries, as bytes, by what they are called."""

    def archive(*names):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as zipped:
            for name in names:
                zipped.writestr(name, b"x" * 5000)
        return file.getvalue()

    def numpy_file(save, *arrays):
        file = io.BytesIO()
        save(file, *arrays)
        return file.getvalue()

    return {
        "a Keras .keras archive": archive("metadata.json", "config.json", "model.weights.h5"),
        "a PyTorch .pt file": archive("archive/data.pkl", "archive/data/0"),
        "a zip archive": archive("other.txt"),
        "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(2000),
        "a NumPy .npz archive": numpy_file(np.savez, np.zeros(3)),
        "a NumPy .npy array": numpy_file(np.save, np.zeros(3)),
        "a Python pickle": pickle.dumps({"a": 1}, protocol=4),
        "a PyTorch .pt file from before version 1.6": pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
        + pickle.dumps({}),
        "an ONNX .onnx model": b"\x08\x08\x12\x07pytorch\x1a\x052.0.1" + bytes(100),
        "a TensorFlow Lite .tflite model": b"\x1c\x00\x00\x00TFL3" + bytes(100),
        "TensorFlow's saved_model.pb": b"\x08\x01\x12\x9a" + bytes(100),
        "a safetensors file of another program": put_together({"w": {"dtype": "BF16", "shape": [1]}}, b""),
        "a JSON text": b'{"class_name": "Sequential", "config": {}}',
    }


@pytest.mark.parametrize("called", foreign_files())
def test_foreign_formats_are_named(tmp_path, called):
    content = foreign_files()[called]
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError) as caught:
        fastnn.load_model(path)
    message = str(caught.value)
    assert f"it looks like {called}" in message and "model.save" in message
    with pytest.raises(ModelFormatError, match="it looks like"):
        fastnn.Sequential([layers.Dense(1, input_dim=1)]).load_weights(path)


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", "/dev/zero", "/dev/null"):
        with pytest.raises(ModelFormatError, match="not a regular file"):
            fastnn.load_model(path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        fastnn.load_model(tmp_path)


def test_readers_of_other_formats_name_files_of_fastnn(tmp_path):
    path = tmp_path / "model.safetensors"
    fastnn.Sequential([layers.Dense(1, input_dim=1)]).save(path)
    for read in (fastnn.load_onnx, fastnn.load_keras, fastnn.load_torch):
        with pytest.raises(ModelFormatError, match=r"a file of fastnn.*fastnn\.load_model reads"):
            read(path)


@pytest.mark.parametrize("size", range(0x100, 0x200, 8))
def test_an_onnx_reader_names_files_of_fastnn_with_headers_of_any_size(tmp_path, size):
    # The first byte of the size of the header is read as a field and its type, with bytes, numbers or nothing in it.
    path = tmp_path / "model.safetensors"
    path.write_bytes(size.to_bytes(8, "little") + b'{"__metadata__": {"fastnn": "1"}}'.ljust(size))
    with pytest.raises(ModelFormatError, match=r"a file of fastnn.*fastnn\.load_model reads"):
        fastnn.load_onnx(path)


def test_source_code_is_written_into_regular_files_only(tmp_path):
    model = fastnn.Sequential([layers.Dense(1, input_dim=1)])
    for export, suffix in ((model.export_c, "c"), (model.export_numpy, "py"), (model.export_fortran, "f90")):
        path = tmp_path / f"net.{suffix}"
        os.mkfifo(path)
        with pytest.raises(OSError, match="is not a regular file or a link to one"):
            export(path)
        assert path.is_fifo()
