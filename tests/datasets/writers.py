#!/usr/bin/env python3
"""writers.py LIBLIMN.SO [LIMN [NODE_MODULES]]: what everyday tools write, read by limn. Each row of the table writes one
file by the real writer, loads it by ds_load (weights: by the tool LIMN) and compares every number, or expects an error
with these words. Tools that are not installed are left out; those of npm (npyjs, and tfjs-npy with
@tensorflow/tfjs-core) are looked for in NODE_MODULES. Prints the table of README.md; the exit status is the number of
rows that failed."""
import csv
import ctypes
import gzip
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tempfile

LIB = ctypes.CDLL(os.path.abspath(sys.argv[1]))
TOOL = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else None
MODULES = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None
SIZE, DOUBLES = ctypes.c_size_t, ctypes.POINTER(ctypes.c_double)


class Options(ctypes.Structure):  # ds_options
    _fields_ = [("scaling", ctypes.c_int), ("train", SIZE), ("test", ctypes.c_double), ("seed", ctypes.c_uint64),
                ("resize_height", SIZE), ("resize_width", SIZE), ("grey", ctypes.c_bool), ("transpose", ctypes.c_bool),
                ("label_column", ctypes.c_char_p), ("labels", ctypes.c_char_p), ("label_rule", ctypes.c_int)]


class Data(ctypes.Structure):  # ds_data
    _fields_ = [("x", DOUBLES), ("y", DOUBLES), ("rows", SIZE), ("features", SIZE), ("height", SIZE), ("width", SIZE),
                ("channels", SIZE), ("classes", SIZE), ("targets", SIZE), ("train", SIZE),
                ("class_names", ctypes.POINTER(ctypes.c_char_p)), ("name", ctypes.c_char * 64),
                ("note", ctypes.c_char * 400)]


class Error(ctypes.Structure):  # ad_error, which begins with its text
    _fields_ = [("text", ctypes.c_char * 512)]


LIB.ds_load.restype = ctypes.POINTER(Data)


def load(path, label=None, labels=None, grey=False):
    """([(x of a row, its label)], note), or (None, the error's text); a label is a class's name or a number."""
    encoded = [None if text is None else str(text).encode() for text in (label, labels)]
    options, error = Options(1, grey=grey, label_column=encoded[0], labels=encoded[1]), Error()
    pointer = LIB.ds_load(str(path).encode(), ctypes.byref(options), ctypes.byref(error))
    if not pointer:
        return None, error.text.decode(errors="replace")
    d = pointer.contents
    rows = []
    for r in range(d.rows):
        y = d.y[r] if d.y else None
        if d.classes and d.class_names:
            y = d.class_names[int(y)].decode()
        rows.append((tuple(d.x[r * d.features + j] for j in range(d.features)), y))
    note = d.note.decode()
    LIB.ds_free(pointer)
    return rows, note


X = [[1.5, 2.0, -3e-5], [0.1, 1 / 3, 4.0], [2.0, 12345.678, 0.0], [7.25, 1.0, 1e20]]
WORDS, NUMBERS = ["cat", "dog", "cat", "eel"], [0, 1, 0, 2]
ROWS = []


def row(writer, what, wants=None, label=None, labels=None, digits=0):
    """Registers a writer: a function of a path that may return another path. `wants`: the labels of X's rows, or
    (rows, labels), or the words of a refusal."""
    def register(write):
        ROWS.append((writer, what, write, wants, label, labels, digits))
        return write
    return register


# W1 (in, out), W2 of an mlp with one hidden layer of width 3, and outputs of X2 by them.
W1, W2 = [[1.5, -2.0, 0.25], [0.5, 1.0, -0.75]], [[1.0, -0.5], [0.25, 2.0], [-1.5, 0.125]]
X2 = [[1.0, 2.0], [-0.5, 0.75], [3.0, -1.0]]


def weights_outcome(folder, path, wants, digits):
    """The tool reads the weights and gives the outputs of X2, or refuses with the words that are wanted."""
    import numpy as np
    given, out = os.path.join(folder, "x2.npy"), os.path.join(folder, "f.npy")
    np.save(given, np.array(X2))
    torch = "torch" in os.path.basename(path)
    if torch:
        command = ["import", path, "mlp", "--set", "depth=1", "--out", path + ".w"]
        digits = 1e-6
        done = subprocess.run([TOOL] + command, capture_output=True, text=True)
    weights = path + ".w" if torch else path
    if not torch or done.returncode == 0:
        scale = [] if torch else ["--scale", "standard", "--layout", "in-out"]
        done = subprocess.run([TOOL, "eval", "mlp", "--set", "depth=1", "--set", "outputs=2", "--inputs", given,
                               "--weights", weights, "--out", out] + scale, capture_output=True, text=True)
    said = done.stderr.strip().replace("limn: ", "").replace(folder + "/", "")
    if isinstance(wants, str):
        return (done.returncode == 1 and wants in said), ("refused: " if done.returncode else "read: ") + said
    if done.returncode:
        return False, said
    want = np.maximum(np.array(X2) @ np.array(W1), 0) @ np.array(W2)
    return bool(np.abs(np.load(out) - want).max() <= digits), "read"


def outcome(write, wants, label, labels, digits):
    with tempfile.TemporaryDirectory() as folder:
        path = write(os.path.join(folder, "data")) or os.path.join(folder, "data")
        if path.endswith(".safetensors"):
            return weights_outcome(folder, path, wants, digits)
        rows, said = load(path, label, labels and os.path.join(folder, labels), os.path.isdir(path))
        said = said.replace(folder + "/", "")
    if isinstance(wants, str):
        return (rows is None and wants in said), "refused: " + said if rows is None else "read, to be refused"
    if rows is None:
        return False, said
    x, y = wants if isinstance(wants, tuple) else (X, wants)
    want = list(zip([tuple(map(float, r)) for r in x], y if y else [None] * len(x)))
    key = sorted(range(len(want)), key=lambda i: [round(v, 3) for v in want[i][0]])
    got = sorted(rows, key=lambda r: [round(v, 3) for v in r[0]])
    same = len(want) == len(got)
    for k, r in zip(key, got):
        same = same and want[k][1] == r[1] and len(want[k][0]) == len(r[0])
        same = same and all(abs(a - b) <= digits * max(1, abs(a)) for a, b in zip(want[k][0], r[0]))
    return same, "read" + (": " + said if said else "") if same else "wrong numbers: %r" % (rows,)


def numpy_rows():
    import numpy as np
    x, labelled = np.array(X), np.column_stack([X, NUMBERS])
    version = "NumPy " + np.__version__

    @row(version, "np.savetxt(f, a)", [float(n) for n in NUMBERS])
    def _(f): np.savetxt(f, labelled)

    @row(version, "np.savetxt(f, a, fmt='%.17g', delimiter=',')", NUMBERS)
    def _(f): np.savetxt(f, labelled, fmt="%.17g", delimiter=",")

    @row(version, "np.savetxt(f, a, header='a b c y'), label a", ([r[1:] + [float(n)] for r, n in zip(X, NUMBERS)],
                                                                    [r[0] for r in X]), label="a")
    def _(f): np.savetxt(f, labelled, header="a b c y")

    @row(version, "np.savetxt('f.csv.gz', a, delimiter=';')", [float(n) for n in NUMBERS])
    def _(f):
        np.savetxt(f + ".csv.gz", labelled, delimiter=";")
        return f + ".csv.gz"

    @row(version, "np.savetxt(f, a), a with nan", "missing")
    def _(f): np.savetxt(f, np.where(labelled == 4, np.nan, labelled))

    @row(version, "np.savetxt(f, complex)", "a complex one")
    def _(f): np.savetxt(f, labelled + 1j)

    for kind, name in (("f8", "f8"), (">f8", ">f8"), ("f4", "f4"), ("f2", "f2")):
        @row(version, "np.save(f, a.astype('%s'))" % name, None, digits={"f4": 1e-6, "f2": 1e-2}.get(kind, 0))
        def _(f, kind=kind): np.save(f + ".npy", (x * (x < 1e5)).astype(kind)); return f + ".npy"
        ROWS[-1] = ROWS[-1][:3] + (((x * (x < 1e5)).tolist(), None),) + ROWS[-1][4:]

    @row(version, "np.save(f, np.asfortranarray(a)), labels (rows, 1) of i8", NUMBERS, labels="y.npy")
    def _(f):
        np.save(f + ".npy", np.asfortranarray(x))
        np.save(os.path.join(os.path.dirname(f), "y.npy"), np.array(NUMBERS)[:, None])
        return f + ".npy"

    @row(version, "np.save of bool, labels of bool", ([[1, 0], [0, 1], [1, 1], [0, 0]], [0, 1, 1, 0]), labels="y.npy")
    def _(f):
        np.save(f + ".npy", np.array([[1, 0], [0, 1], [1, 1], [0, 0]], bool))
        np.save(os.path.join(os.path.dirname(f), "y.npy"), np.array([0, 1, 1, 0], bool))
        return f + ".npy"

    @row(version, "np.save of u1 pictures (rows, h, w, c)", (np.arange(24).reshape(2, 12).tolist(), None))
    def _(f): np.save(f + ".npy", np.arange(24, dtype="u1").reshape(2, 2, 2, 3)); return f + ".npy"

    @row(version, "np.save of pictures (rows, c, h, w)", "transpose(0, 2, 3, 1)")
    def _(f): np.save(f + ".npy", np.zeros((2, 3, 8, 8))); return f + ".npy"

    @row(version, "np.save of complex", "a.real and a.imag")
    def _(f): np.save(f + ".npy", x + 1j); return f + ".npy"

    @row(version, "np.save of objects", "dtype='f8'")
    def _(f): np.save(f + ".npy", np.array([[1, None]], object)); return f + ".npy"

    @row(version, "np.save of a record array", "structured type")
    def _(f): np.save(f + ".npy", np.array([(1, 2.0)], "i4,f8")); return f + ".npy"

    @row(version, "np.savez(f, x=a, y=b), as f.npz:x", (X, None))
    def _(f): np.savez(f, x=x, y=x); return f + ".npz:x"

    @row(version, "np.savez_compressed(f, x=a)", (X, None))
    def _(f): np.savez_compressed(f, x=x); return f + ".npz"

    @row(version, "np.savez(f, x=a, y=b), without a name", "its arrays are: x, y")
    def _(f): np.savez(f, x=x, y=x); return f + ".npz"


def pandas_rows():
    import pandas as pd
    named = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=WORDS)
    plain = pd.DataFrame(X).assign(y=NUMBERS)
    plain.columns = range(4)
    version = "pandas " + pd.__version__

    @row(version, "df.to_csv(f)", WORDS)
    def _(f): named.to_csv(f)

    @row(version, "df.to_csv(f, index=False)", WORDS)
    def _(f): named.to_csv(f, index=False)

    @row(version, "df.to_csv(f), columns 0, 1, 2, ...", NUMBERS)
    def _(f): plain.to_csv(f)

    @row(version, "df.to_csv(f, index=False), columns 0, 1, 2, ...", NUMBERS)
    def _(f): plain.to_csv(f, index=False)

    @row(version, "df.to_csv(f, index=False, header=False)", NUMBERS)
    def _(f): plain.to_csv(f, index=False, header=False)

    @row(version, "df.to_csv(f, sep=';', decimal=',')", WORDS)
    def _(f): named.to_csv(f, sep=";", decimal=",")

    @row(version, "df.to_csv(f, sep='\\t', index_label='id'), label y", ([[i] + r for i, r in enumerate(X)], WORDS))
    def _(f): named.to_csv(f, sep="\t", index_label="id")

    @row(version, "df.to_csv('f.csv.gz')", WORDS)
    def _(f): named.to_csv(f + ".csv.gz"); return f + ".csv.gz"

    @row(version, "df.to_csv(f, quoting=csv.QUOTE_ALL)", WORDS)
    def _(f): named.to_csv(f, quoting=csv.QUOTE_ALL)

    @row(version, "df.to_csv(f, encoding='utf-8-sig', lineterminator='\\r\\n')", WORDS)
    def _(f): named.to_csv(f, encoding="utf-8-sig", lineterminator="\r\n")

    @row(version, "df.to_csv(f, encoding='utf-16')", "UTF-16: save it as UTF-8")
    def _(f): named.to_csv(f, encoding="utf-16")

    @row(version, "df.to_csv(f) of a read df.to_csv(f)", WORDS)
    def _(f):
        named.to_csv(f)
        pd.read_csv(f).to_csv(f, index=False)

    @row(version, "df.to_csv(f), a cell missing", "(b): '' is empty")
    def _(f): named.assign(b=[1, None, 3, 4]).to_csv(f)

    @row(version, "df.to_csv(f, na_rep='NA')", "(b): 'NA' is no finite number but a missing one")
    def _(f): named.assign(b=[1, None, 3, 4]).to_csv(f, na_rep="NA")

    @row(version, "df.to_csv(f), a column of words", "(b): 'cat' is no finite number: only the label's column")
    def _(f): named.assign(b=WORDS).to_csv(f)

    @row(version, "df.to_string(f)", WORDS)
    def _(f): named.to_string(f, float_format="%.17g")

    @row(version, "df.to_json(f)", "JSON: save it as CSV")
    def _(f): named.to_json(f)

    @row(version, "df.to_pickle(f)", "a pickle")
    def _(f): named.to_pickle(f)


def other_rows():
    @row("Python's csv", "csv.writer, excel-tab", WORDS)
    def _(f):
        with open(f, "w", newline="") as out:
            csv.writer(out, dialect="excel-tab").writerows([["a", "b", "c", "y"]] + [r + [w] for r, w in zip(X, WORDS)])

    text = "\n".join(",".join(map(repr, r)) + "," + w for r, w in zip(X, WORDS)) + "\n"

    @row("Python's gzip", "two members, one behind the other", WORDS)
    def _(f):
        with open(f, "wb") as out:
            out.write(gzip.compress(text[:40].encode()) + gzip.compress(text[40:].encode()))

    @row("Python's pickle", "pickle.dump(list)", "a pickle")
    def _(f):
        with open(f, "wb") as out:
            pickle.dump(X, out)

    @row("Python's json", "json.dump(list)", "JSON")
    def _(f):
        with open(f, "w") as out:
            json.dump(X, out)

    @row("MNIST's IDX", "EMNIST letters: labels 1, 2", ([[0, 1, 2, 3], [4, 5, 6, 7]], ["1", "2"]))
    def _(f):
        images, labels = f + "-images-idx3-ubyte", f + "-labels-idx1-ubyte.gz"
        with open(images, "wb") as out:
            out.write(struct.pack(">4B3I", 0, 0, 8, 3, 2, 2, 2) + bytes(range(8)))
        with gzip.open(labels, "wb") as out:
            out.write(struct.pack(">4BI", 0, 0, 8, 1, 2) + bytes([1, 2]))
        return images
    ROWS[-1] = ROWS[-1][:3] + (([[v / 255 for v in range(4)], [v / 255 for v in range(4, 8)]], ["1", "2"]),) + \
        ROWS[-1][4:]
    if shutil.which("sh") and shutil.which("gzip"):
        @row("gzip", "(gzip -c a; gzip -c b) > f", WORDS)
        def _(f):
            for name, part in (("a", text[:33]), ("b", text[33:])):
                with open(f + name, "w") as out:
                    out.write(part)
            subprocess.run("(gzip -c '%sa'; gzip -c '%sb') > '%s'" % (f, f, f), shell=True, check=True)


def pictures(version, write, upside_down=()):
    """A folder of two classes of 2 x 2 pictures, written by `write`, and files beside them. upside_down: endings of files
    whose header says that their rows go upwards, though they do not."""
    values = {"cat": [10, 20, 30, 40], "dog": [50, 60, 70, 80]}
    for end in ("png", "bmp", "pgm", "tga", "gif"):
        turn = (lambda v: v[2:] + v[:2]) if end in upside_down else (lambda v: v)
        want = ([[v / 255 for v in turn(values[k])] for k in values], ["cat", "dog"])
        @row(version, "a folder a class, *.%s" % end, want)
        def _(f, end=end):
            for name, v in values.items():
                os.makedirs(os.path.join(f, name))
                write(os.path.join(f, name, "a." + end), v)
                open(os.path.join(f, name, "Thumbs.db"), "w").close()
            return f


def image_rows():
    try:
        import PIL.Image

        def by_pil(path, v):
            picture = PIL.Image.new("L", (2, 2))
            picture.putdata(v)
            picture.save(path)
        pictures("Pillow " + PIL.__version__, by_pil)
    except ImportError:
        pass
    if shutil.which("convert"):
        version = subprocess.run(["convert", "-version"], capture_output=True, text=True).stdout.split()

        def by_magick(path, v):
            source = path + ".txt"
            with open(source, "w") as out:
                out.write("P2\n2 2\n255\n%d %d %d %d\n" % tuple(v))
            subprocess.run(["convert", "pgm:" + source, path], check=True, capture_output=True)
        if "ImageMagick" in version:
            pictures("ImageMagick " + version[2], by_magick, ["tga"] if version[2].startswith("6.") else [])


def science_rows():
    try:
        import scipy
        import scipy.io

        @row("SciPy " + scipy.__version__, "scipy.io.savemat(f, {'x': a})", "MATLAB's format")
        def _(f): scipy.io.savemat(f, {"x": X}, appendmat=False)

        @row("SciPy " + scipy.__version__, "scipy.io.mmwrite(f, a)", "MatrixMarket's format")
        def _(f): scipy.io.mmwrite(f, X); return f + ".mtx"
    except ImportError:
        pass
    try:
        import sklearn
        import sklearn.datasets

        @row("scikit-learn " + sklearn.__version__, "dump_svmlight_file(x, y, f), label first", "svmlight's format",
             label="first")
        def _(f): sklearn.datasets.dump_svmlight_file(X, NUMBERS, f)
    except ImportError:
        pass
    try:
        import torch

        @row("PyTorch " + torch.__version__, "torch.save(tensor, f)", "a zip file")
        def _(f): torch.save(torch.tensor(X), f)

        @row("PyTorch " + torch.__version__, "np.save(f, tensor.T.numpy()), its rows in Fortran order", (X, None))
        def _(f):
            import numpy as np
            np.save(f + ".npy", torch.tensor(list(zip(*X)), dtype=torch.float64).T.numpy())
            return f + ".npy"
    except ImportError:
        pass


def hand_made(path, tensors, pad=0):
    """A .safetensors file by its description alone: name -> (type, shape, bytes)."""
    header, data = {}, b""
    for name, (kind, shape, part) in tensors.items():
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode() + b" " * pad
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + data)
    return path


def weight_rows():
    import numpy as np
    if not TOOL:
        return
    w1, w2 = np.array(W1), np.array(W2)
    for kind, code in (("F64", "<f8"), ("F32", "<f4"), ("F16", "<f2")):
        @row("hand-made .safetensors", "%s, (in, out), by limn's names" % kind, None, digits=1e-12)
        def _(f, kind=kind, code=code):
            return hand_made(f + ".safetensors", {"dense1.weight": (kind, w1.shape, w1.astype(code).tobytes()),
                                                  "readout.weight": (kind, w2.shape, w2.astype(code).tobytes())}, 3)

    @row("hand-made .safetensors", "BF16, (in, out), by limn's names", None, digits=1e-12)
    def _(f):
        def half(a): return (a.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        return hand_made(f + ".safetensors", {"dense1.weight": ("BF16", w1.shape, half(w1)),
                                              "readout.weight": ("BF16", w2.shape, half(w2))})

    @row("hand-made .safetensors", "(out, in), by PyTorch's names, no biases", None)
    def _(f):
        return hand_made(f + "-torch.safetensors", {"0.weight": ("F32", (3, 2), w1.T.astype("<f4").tobytes()),
                                                    "2.weight": ("F32", (2, 3), w2.T.astype("<f4").tobytes())})

    @row("hand-made .safetensors", "a tensor with a hole before it", "97 bytes of data, the tensors take 96")
    def _(f):
        path = hand_made(f + ".safetensors", {"dense1.weight": ("F64", w1.shape, w1.astype("<f8").tobytes()),
                                              "readout.weight": ("F64", w2.shape, w2.astype("<f8").tobytes())})
        text = open(path, "rb").read().replace(b"[48, 96]", b"[49, 97]") + b"\0"
        open(path, "wb").write(text)
        return path

    @row("hand-made .safetensors", "a NaN among the weights", "number 4 is nan")
    def _(f):
        bad = w1.copy()
        bad[1, 1] = np.nan
        return hand_made(f + ".safetensors", {"dense1.weight": ("F64", w1.shape, bad.astype("<f8").tobytes()),
                                              "readout.weight": ("F64", w2.shape, w2.astype("<f8").tobytes())})
    try:
        import torch

        @row("PyTorch " + torch.__version__, "torch.save(state_dict, 'f.safetensors'), to limn import",
             "safetensors.torch.save_file")
        def _(f):
            torch.save({"0.weight": torch.tensor(W1).T}, f + "-torch.safetensors")
            return f + "-torch.safetensors"
    except ImportError:
        pass
    try:
        import safetensors.numpy

        @row("safetensors " + safetensors.__version__, "safetensors.numpy.save_file, limn's names", None, digits=1e-12)
        def _(f):
            safetensors.numpy.save_file({"dense1.weight": w1, "readout.weight": w2}, f + ".safetensors")
            return f + ".safetensors"

        @row("safetensors " + safetensors.__version__, "safetensors.torch.save_file of a state_dict", None)
        def _(f):
            import safetensors.torch
            import torch
            safetensors.torch.save_file({"0.weight": torch.tensor(W1).T.contiguous(),
                                         "2.weight": torch.tensor(W2).T.contiguous()}, f + "-torch.safetensors")
            return f + "-torch.safetensors"
    except ImportError:
        pass


def office_rows():
    if not shutil.which("soffice"):
        return
    version = " ".join(subprocess.run(["soffice", "--version"], capture_output=True, text=True).stdout.split()[:2])

    def sheet(f, kind):
        with open(f + ".csv", "w", newline="") as out:
            csv.writer(out).writerows([["a", "b", "c", "y"]] + [r + [w] for r, w in zip(X, WORDS)])
        home = "-env:UserInstallation=file://" + f + "-home"
        folder = os.path.dirname(f)
        for made, target in ((f + ".csv", "ods"), (f + ".ods", kind)):
            if target != "ods" or made.endswith("csv"):
                subprocess.run(["soffice", home, "--headless", "--convert-to", target, "--outdir", folder, made],
                               check=True, capture_output=True, timeout=120)
        return f + "." + kind.split(":")[0]

    for kind, what in (("csv", "a sheet saved as CSV"),
                       ("csv:Text - txt - csv (StarCalc):59,34,76", "as CSV with semicolons"),
                       ("csv:Text - txt - csv (StarCalc):9,34,76", "as CSV with tabs")):
        @row(version, what, WORDS, digits=1e-12)
        def _(f, kind=kind): return sheet(f, kind)
    for kind in ("ods", "xlsx"):
        @row(version, "a sheet as .%s" % kind, "save the sheet as CSV")
        def _(f, kind=kind): return sheet(f, kind)


def npm_rows():
    if not MODULES or not shutil.which("node"):
        return

    def version(name):
        with open(os.path.join(MODULES, name, "package.json")) as file:
            return json.load(file)["version"]

    def node(script, f):
        script = script.replace("MODULES", MODULES).replace("FILE", f).replace("NUMBERS", json.dumps(X))
        subprocess.run(["node", "--input-type=module", "-e", script], check=True, capture_output=True)
        return f + ".npy"

    if os.path.isdir(os.path.join(MODULES, "npyjs")):
        for kind, array, digits in (("f8", "Float64Array", 0), ("f4", "Float32Array", 1e-6)):
            @row("npyjs " + version("npyjs"), "dump(new %s(a), [4, 3])" % array, (X, None), digits=digits)
            def _(f, array=array):
                return node("import fs from 'fs'; import {dump} from 'MODULES/npyjs/dist/index.js';"
                            "fs.writeFileSync('FILE.npy', Buffer.from(dump(new %s(NUMBERS.flat()), [4, 3])))" % array, f)

        @row("npyjs " + version("npyjs"), "dump(new Int32Array(a), [2, 2])", ([[1, -2], [3, 40000]], None))
        def _(f):
            return node("import fs from 'fs'; import {dump} from 'MODULES/npyjs/dist/index.js';"
                        "fs.writeFileSync('FILE.npy', Buffer.from(dump(new Int32Array([1, -2, 3, 40000]), [2, 2])))", f)
    if os.path.isdir(os.path.join(MODULES, "tfjs-npy")):
        @row("tfjs-npy " + version("tfjs-npy"), "serialize(tf.tensor2d(a))", (X, None), digits=1e-6)
        def _(f):
            return node("import fs from 'fs'; import {createRequire} from 'module';"
                        "const need = createRequire('MODULES/x.js');"
                        "const tf = need('@tensorflow/tfjs-core'), npy = need('tfjs-npy');"
                        "tf.registerBackend('none', () => new Store());"
                        "class Store extends tf.KernelBackend { constructor() { super(); this.m = new Map();"
                        "this.d = new tf.DataStorage(this, tf.engine()) }"
                        "numDataIds() { return this.m.size } write(v, s, t) { const id = {}; this.m.set(id, v); return id }"
                        "move(id, v) { this.m.set(id, v) } read(id) { return Promise.resolve(this.m.get(id)) }"
                        "readSync(id) { return this.m.get(id) } disposeData() { return true } incRef() {} floatPrecision()"
                        "{ return 32 } refCount() { return 1 } }"
                        "await tf.setBackend('none');"
                        "const b = await npy.serialize(tf.tensor2d(NUMBERS));"
                        "fs.writeFileSync('FILE.npy', Buffer.from(b))", f)


def program(name, arguments, version, what, wants, script):
    if not shutil.which(name):
        return
    first = subprocess.run([name, "--version"], capture_output=True, text=True).stdout.split("\n")[0]

    @row(version + " " + first, what, wants)
    def _(f): subprocess.run([name] + arguments + [script.replace("FILE", f)], check=True, capture_output=True)


def main():
    for rows in (numpy_rows, pandas_rows, other_rows, image_rows, science_rows, weight_rows, office_rows, npm_rows):
        try:
            rows()
        except ImportError:
            pass
    frame = "d <- data.frame(a=c(1.5,2.5), b=c(3,4), y=c('u','v')); "
    want = ([[1.5, 3], [2.5, 4]], ["u", "v"])
    for call in ("write.csv(d, 'FILE')", "write.csv(d, 'FILE', row.names=FALSE)", "write.csv2(d, 'FILE')",
                 "write.table(d, 'FILE')", "write.table(d, 'FILE', sep='\\t', quote=FALSE)"):
        program("Rscript", ["-e"], "R", call, want, frame + call)
    for call in ("csvwrite('FILE', x)", "dlmwrite('FILE', x, ' ')", "save('-text', 'FILE', 'x')"):
        program("octave", ["--eval"], "Octave", call, ([[1.5, 3], [2.5, 4]], [0, 1]), "x = [1.5 3 0; 2.5 4 1]; " + call)
    failures = 0
    print("| writer | what it writes | limn |\n|---|---|---|")
    for writer, what, write, wants, label, labels, digits in ROWS:
        good, text = outcome(write, wants, label, labels, digits)
        failures += not good
        print("| %s | `%s` | %s%s |" % (writer, what, "" if good else "**FAILED** ", text.replace("|", "\\|")))
    print("\n%d of %d as they should be" % (len(ROWS) - failures, len(ROWS)), file=sys.stderr)
    return failures


sys.exit(main())
