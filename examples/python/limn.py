"""limn from Python: kernels, limits and training of neural networks, with NumPy arrays in and out.

    import numpy, limn
    x = numpy.random.default_rng(0).standard_normal((20, 10))
    k = limn.kernel("mlp", x, depth=2, phi="erf")            # NTK at n = infinity, (20, 20)
    k = limn.kernel("net.c", x, width=512, kind="nngp")      # a C file of one's own, at a width
    f = limn.predict("mlp", x, x[:, :1], x[:5])              # what training would do: (5, 1)
    model = limn.train("mlp", x, x[:, :1], width=256, epochs=5)
    model(x[:5]), model.parameters["readout.weight"]
    print(limn.program("mlp", features=10))                  # the Netsor-T program

A network is "mlp", "rnn", "batchnorm", "cnn" or the path of a C file that defines limn_network (nn/entry.h; compiled by
$CC or cc). Keywords that are no argument of a function are the network's settings: depth=2, phi="tanh", sigma_w=1.5.
Inputs are (rows, features), of sequences (rows, time, features), of images (rows, height, width, channels). What limn
refuses is a limn.Error with its text.

There is nothing to build: the module calls the C library by ctypes. It takes $LIMN_LIBRARY, the library that it was
installed with, the build/ of its source tree, or the system's, in this order."""

import ctypes
import glob
import os
import shlex
import subprocess
import tempfile
from ctypes import POINTER, byref, c_bool, c_char, c_char_p, c_double, c_int, c_long, c_size_t, c_uint64, c_void_p

import numpy

__all__ = ["Error", "Network", "Model", "kernel", "predict", "train", "program", "recursion"]


class Error(RuntimeError):
    """What limn says of a failure, in one line."""


# ---- the library -----------------------------------------------------------------------------------------------------
_HERE = os.path.dirname(os.path.realpath(__file__))


def _open_library():
    tree = os.path.join(_HERE, "..", "..")  # the source tree, or lib/ of lib/python3/dist-packages
    patterns = [os.path.join(tree, folder, "liblimn.so.0.1") for folder in ("", "build", "*-linux-*")]
    found = [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    path = os.environ.get("LIMN_LIBRARY") or (found or ["liblimn.so.0.1"])[0]
    try:
        return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise ImportError(f"limn's library is not found: build it, install it, or set LIMN_LIBRARY ({error})") from None


_lib = _open_library()


_MORE = ("_more", c_char * 256)  # members that limn's structures may have got since: zeros are what they were without


class _Error(ctypes.Structure):
    _fields_ = [("text", c_char * 512)]


class _Spec(ctypes.Structure):  # nn_spec
    _fields_ = [("features", c_size_t), ("shape", c_size_t * 4), ("outputs", c_size_t), ("parametrization", c_int),
                ("sigma_in", c_int), ("settings", POINTER(c_char_p)), ("name", c_char_p), ("freeze", POINTER(c_char_p)), _MORE]


class _Term(ctypes.Structure):
    _fields_ = [("power", c_double), ("values", POINTER(c_double))]


class _Kernel(ctypes.Structure):  # tp_kernel
    _fields_ = [("rows", c_size_t), ("rows2", c_size_t), ("n_terms", c_int), ("terms", _Term * 8), ("error", c_double),
                ("deviations", POINTER(c_double)), ("simple_rule_error", c_double), ("method", c_char * 600),
                ("no_rule", c_char * 512), _MORE]


class _LimitSpec(ctypes.Structure):  # tp_limit_spec
    _fields_ = [("threads", c_int), ("tolerance", c_double), ("engine", c_int), ("rule", c_int), ("samples", c_size_t),
                ("runs", c_int), ("seed", c_uint64), ("output", c_size_t), ("output2", c_size_t),
                ("params", c_void_p), ("progress", c_void_p), ("context", c_void_p), _MORE]


class _Opinion(ctypes.Structure):  # tp_opinion
    _fields_ = [("checked", c_bool), ("entries", c_int), ("runs", c_int), ("samples", c_size_t),
                ("deviation", c_double), ("precision", c_double), ("text", c_char * 700), _MORE]


class _Data(ctypes.Structure):  # nn_data
    _fields_ = [("x", c_void_p), ("y", c_void_p), ("rows", c_size_t), ("classes", c_size_t)]


class _FitSpec(ctypes.Structure):  # nn_fit_spec
    _fields_ = [("loss", c_int), ("optimizer", c_int), ("rate", c_double), ("frozen", c_bool),
                ("weight_decay", c_double), ("momentum", c_double), ("beta1", c_double), ("beta2", c_double), ("epsilon", c_double),
                ("alpha", c_double), ("batch", c_size_t), ("epochs", c_double), ("steps", c_long), ("seed", c_uint64),
                ("every", c_long), ("callback", c_void_p), ("context", c_void_p), ("progress", c_void_p),
                ("checkpoint", c_char_p), ("checkpoint_every", c_long), ("resume", c_char_p), ("drift", c_void_p),
                _MORE]


class _ModelSpec(ctypes.Structure):  # tp_kernel_model_spec
    _fields_ = [("ridge", c_double), ("noise", c_double), ("cholesky", c_bool), ("outputs", c_size_t),
                ("threads", c_int), _MORE]


class _Training(ctypes.Structure):  # tp_training
    _fields_ = [("motion", c_int), ("loss", c_int), ("rate", c_double), ("momentum", c_double), ("divisor", c_double),
                ("tolerance", c_double), _MORE]


class _Prior(ctypes.Structure):  # tp_prior
    _fields_ = [("train", c_void_p), ("cross", c_void_p), ("test", c_void_p), ("diagonal", c_bool), _MORE]


class _Var(ctypes.Structure):  # ad_var
    _fields_ = [("graph", c_void_p), ("id", c_int)]


class _Axis(ctypes.Structure):  # ad_axis
    _fields_ = [("id", ctypes.c_ushort), ("prime", ctypes.c_ubyte), ("graph", ctypes.c_ubyte)]


class _Shape(ctypes.Structure):  # ad_shape
    _fields_ = [("rank", c_int), ("axes", _Axis * 10)]


class _BatchSize(ctypes.Structure):
    _fields_ = [("axis", _Axis), ("size", c_size_t)]


class _Sizes(ctypes.Structure):  # ad_sizes
    _fields_ = [("n", c_size_t), ("batches", _BatchSize * 4), ("n_batches", c_int)]


class _Where(ctypes.Structure):  # ad_where
    _fields_ = [("file", c_char_p), ("line", c_int)]


class _Node(ctypes.Structure):  # ad_node, as far as it is read
    _fields_ = [("op", c_int), ("where", _Where), ("shape", _Shape), ("n_in", c_int), ("in_", c_void_p),
                ("name", c_char_p)]


# Of limn's structures, for the test that holds them against the headers.
_STRUCTURES = {"ad_error": _Error, "nn_spec": _Spec, "tp_kernel": _Kernel, "tp_limit_spec": _LimitSpec,
               "tp_opinion": _Opinion, "nn_data": _Data, "nn_fit_spec": _FitSpec, "tp_kernel_model_spec": _ModelSpec,
               "tp_training": _Training, "tp_prior": _Prior, "ad_var": _Var, "ad_axis": _Axis, "ad_shape": _Shape,
               "ad_sizes": _Sizes}


_RESULTS = {c_void_p: ["nn_trace", "nn_builtin", "tp_translate", "nn_model_new", "nn_param_values", "ad_alloc",
                       "tp_kernel_model_new"],
            c_char_p: ["nn_optimizer_name", "nn_parametrization_name"],
            c_size_t: ["nn_n_outputs", "nn_model_size", "ad_axis_size"],
            c_bool: ["tp_outputs_alike", "tp_outputs_independent", "tp_outputs_centred"],
            _Var: ["nn_param"], POINTER(_Node): ["ad_node_of"], c_double: ["tp_maximum_stable_rate"]}
for _type, _names in _RESULTS.items():
    for _name in _names:
        getattr(_lib, _name).restype = _type
for _name in ("nn_net_free", "nn_model_free", "tp_program_free", "tp_kernel_free", "tp_kernel_at", "ad_free",
              "tp_kernel_model_free", "tp_outputs_at"):
    getattr(_lib, _name).restype = None
_libc = ctypes.CDLL(None)
_libc.open_memstream.restype = c_void_p
_libc.free.restype = None


def _call(name, *args):
    """A function whose last argument is an ad_error *: raises its text where it returns NULL or not 0."""
    error, function = _Error(), getattr(_lib, name)
    result = function(*args, byref(error))
    if error.text or (result is None if function.restype is c_void_p else result):
        raise Error(error.text.decode() or f"{name} failed")
    return result


def _array(values, what, rank=None):
    a = numpy.ascontiguousarray(values, dtype=numpy.float64)
    if rank is not None and a.ndim not in rank or a.size == 0:
        raise Error(f"{what}: its shape is {a.shape}")
    if not numpy.isfinite(a).all():
        raise Error(f"{what}: not all of its values are finite")
    return a


def _pointer(a):
    return None if a is None else c_void_p(a.ctypes.data)


def _word(what, value, words):
    if value not in words:
        raise Error(f"{what}={value}: there are {', '.join(words)}")
    return words.index(value)


# ---- a network's C file ----------------------------------------------------------------------------------------------
def _include_folders():
    tree = os.path.join(_HERE, "..", "..")
    for folder in (os.path.join(tree, "..", "include", "limn"), tree, "/usr/local/include/limn", "/usr/include/limn"):
        if os.path.exists(os.path.join(folder, "nn", "entry.h")):
            return [folder, os.path.join(folder, ".."), os.path.join(tree, "build", "include")]
    return []


def _compile(path):
    """The file's limn_network and what it takes of one sample, as limn does it. The object stays loaded."""
    if not os.path.exists(path):
        raise Error(f"{path}: there is no such file")
    with tempfile.TemporaryDirectory() as folder:
        shared = os.path.join(folder, "net.so")
        command = shlex.split(os.environ.get("CC") or "cc") + [
            "-std=gnu17", "-O2", "-Wall", "-Werror=implicit-function-declaration", "-Werror=return-type",
            "-Werror=int-conversion", "-Werror=incompatible-pointer-types", "-Werror=uninitialized", "-shared",
            "-fPIC", *("-I" + include for include in _include_folders()), "-include", "nn/entry.h", "-o", shared,
            "-x", "c", path]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise Error(f"{path}: the compiler {command[0]} cannot be run: set CC ({error})") from None
        if done.returncode:
            raise Error(f"{path}: it does not compile\n{done.stderr}")
        loaded = ctypes.CDLL(shared)
    if not hasattr(loaded, "limn_network"):
        raise Error(f"{path}: it does not define ad_var limn_network(nn_net *net, ad_var x)")
    try:
        kind = c_int.in_dll(loaded, "limn_input").value
    except ValueError:
        kind = 0
    return loaded, ctypes.cast(loaded.limn_network, c_void_p), kind


# ---- networks --------------------------------------------------------------------------------------------------------
class Network:
    """A traced network. features: an int, (time, features) of sequences, or (rows, columns, channels) of images."""

    def __init__(self, network, features, outputs=None, scale="ntk", sigma_in="init", **settings):
        self._net = self._program = None
        if str(network).endswith(".c"):
            self._object, function, kind = _compile(str(network))
        else:
            function = _lib.nn_builtin(os.fsencode(network))
            if not function:
                raise Error(f"unknown network {network}: there are mlp, rnn, batchnorm, cnn, or a C file (.c)")
            kind = _lib.nn_builtin_input(os.fsencode(network))
        self.shape = (features,) if numpy.ndim(features) == 0 else tuple(features)
        if len(self.shape) != kind + 1:
            raise Error(f"{network} takes (rows, {('features', 'time, features', 'height, width, channels')[kind]})")
        texts = [f"{key}={self._text(value)}".encode() for key, value in settings.items()]
        self._settings = (c_char_p * (len(texts) + 1))(*texts, None)
        self._name = os.fsencode(network)
        if not all(size > 0 for size in self.shape) or (outputs or 0) < 0:
            raise Error(f"features {features} and outputs {outputs} must be positive")
        spec = _Spec(features=int(numpy.prod(self.shape)), outputs=outputs or 0, settings=self._settings,
                     parametrization=_word("scale", scale, ("ntk", "standard", "meanfield", "mup")),
                     sigma_in=_word("sigma_in", sigma_in, ("init", "multiplier")), name=self._name)
        if kind:
            spec.shape = (c_size_t * 4)(*self.shape)
        self._net = _call("nn_trace", c_void_p(function) if isinstance(function, int) else function, byref(spec))
        self.outputs = _lib.nn_n_outputs(c_void_p(self._net))

    @staticmethod
    def _text(value):
        return ("yes" if value else "no") if isinstance(value, bool) else "none" if value is None else str(value)

    def __del__(self):
        if getattr(self, "_program", None):
            _lib.tp_program_free(c_void_p(self._program))
        if getattr(self, "_net", None):
            _lib.nn_net_free(c_void_p(self._net))

    def _translated(self):
        if not self._program:
            self._program = _call("tp_translate", c_void_p(self._net))
        return c_void_p(self._program)

    def _rows(self, x, what="x"):
        a = _array(x, what)
        if a.shape[1:] != self.shape:
            raise Error(f"{what}: its shape is {a.shape}; the network takes (rows, {', '.join(map(str, self.shape))})")
        return a

    def _printed(self, name, style):
        program, text, size = self._translated(), c_char_p(), c_size_t()
        stream = c_void_p(_libc.open_memstream(byref(text), byref(size)))
        try:
            _call(name, program, stream, _word("style", style, ("text", "latex", "json")))
        finally:
            _libc.fclose(stream)
            printed = text.value.decode()
            _libc.free(text)
        return printed

    def program(self, style="text"):
        """The Netsor-T program of the forward and backward pass: style "text", "latex" or "json"."""
        return self._printed("tp_print", style)

    def recursion(self, style="text"):
        """The recursion of the kernels, as "text" or "latex"."""
        return self._printed("tp_print_recursion", style)

    def kernel(self, x, x2=None, kind="ntk", width=None, seed=1, at_width=None, check=True, threads=1, training=False):
        """NTK or NNGP kernel of x and x2 (x), (rows, rows2): the mean over outputs at a width, or the limit. A limit
        that has several powers of n is summed at at_width. check: an exact limit is held against samples at n =
        infinity. training: the kernel that gradient descent moves the outputs by."""
        x, x2 = self._rows(x), None if x2 is None else self._rows(x2, "x2")
        which = _word("kind", kind, ("ntk", "nngp"))
        if width is not None:
            return Model(self, width, seed, numpy.float64, threads).kernel(x, x2, kind, training)
        program, spec, kernel = self._translated(), _LimitSpec(threads=threads, seed=seed), _Kernel()
        if not _lib.tp_outputs_alike(program):
            raise Error("the outputs are not alike: limn kernel --outputs full has the kernel of each")
        arguments = [program, which, _pointer(x), c_size_t(len(x)), _pointer(x2),
                     c_size_t(0 if x2 is None else len(x2)), byref(spec)]
        if training and kind == "ntk":
            del arguments[1]
        try:
            opinion = _Opinion()
            finding = "tp_training_kernel" if training and kind == "ntk" else "tp_limit"
            _call(finding, *arguments, byref(kernel))
            if check:
                second = "tp_training_second_opinion" if finding == "tp_training_kernel" else "tp_second_opinion"
                _call(second, *arguments, byref(kernel), c_double(0.3), byref(opinion))
            powers = [kernel.terms[k].power for k in range(kernel.n_terms)]
            if any(powers) and at_width is None:
                raise Error(f"the limit has the powers {', '.join(f'n^{p:g}' for p in powers)}: give at_width")
            out = numpy.empty((kernel.rows, kernel.rows2))
            _lib.tp_kernel_at(byref(kernel), c_double(at_width or 1), _pointer(out))
        finally:
            _lib.tp_kernel_free(byref(kernel))
        if not numpy.isfinite(out).all():
            raise Error("the kernel leaves the range of a double")
        return out

    def model(self, width, seed=1, dtype=numpy.float64, threads=1):
        """The network at a width, drawn from seed."""
        return Model(self, width, seed, dtype, threads)


class Model:
    """A network at a width: model(x) are its outputs, model.parameters its raw omega, which may be written to."""

    def __init__(self, network, width, seed=1, dtype=numpy.float64, threads=1):
        self._model, self.network, self.width = None, network, width
        self.dtype = numpy.dtype(dtype)
        kind = _word("dtype", self.dtype.name, ("float32", "float64"))
        if not 2 <= width <= 10**7:
            raise Error(f"width={width}: a whole number from 2 to 10000000")
        self._model = _call("nn_model_new", c_void_p(network._net), c_size_t(width), c_uint64(seed), kind, threads)

    def __del__(self):
        if getattr(self, "_model", None):
            _lib.nn_model_free(c_void_p(self._model))

    @property
    def parameters(self):
        """Name and array of each parameter, in the order of the trace. Writing to one sets the network's."""
        found, net, kind = {}, c_void_p(self.network._net), c_double if self.dtype == numpy.float64 else ctypes.c_float
        sizes = _Sizes(n=self.width)
        for k in range(_lib.nn_n_params(net)):
            count, var = c_size_t(), _lib.nn_param(net, k)
            graph, node = c_void_p(var.graph), _lib.ad_node_of(c_void_p(var.graph), var.id).contents
            values = _lib.nn_param_values(c_void_p(self._model), k, byref(count))
            memory = (kind * count.value).from_address(values)
            memory._model = self  # the array keeps the memory, and this the model
            shape = [_lib.ad_axis_size(graph, node.shape.axes[i], byref(sizes)) for i in range(node.shape.rank)]
            found[node.name.decode()] = numpy.frombuffer(memory, self.dtype).reshape(shape)
        return found

    def __call__(self, x):
        x = self.network._rows(x)
        out = numpy.empty((len(x), self.network.outputs))
        _call("nn_forward", c_void_p(self._model), _pointer(x), c_size_t(len(x)), _pointer(out))
        return out

    def kernel(self, x, x2=None, kind="ntk", training=False):
        """The empirical kernel, (rows, rows2), the mean over outputs."""
        x, x2 = self.network._rows(x), None if x2 is None else self.network._rows(x2, "x2")
        name = ("nn_training_kernel" if training else "nn_ntk") if kind == "ntk" else "nn_nngp"
        _word("kind", kind, ("ntk", "nngp"))
        out = numpy.empty((len(x), len(x if x2 is None else x2)))
        _call(name, c_void_p(self._model), _pointer(x), c_size_t(len(x)), _pointer(x2),
              c_size_t(0 if x2 is None else len(x2)), 1, _pointer(out))
        return out

    def _data(self, x, y, loss):
        """nn_data of arrays, which the caller keeps, and the loss."""
        x, (y, classes) = self.network._rows(x), _labels(y)
        outputs = self.network.outputs
        if len(y) != len(x):
            raise Error(f"y has {len(y)} rows and x {len(x)}")
        if classes > outputs or not classes and y.shape[1] != outputs:
            raise Error(f"y has {classes or y.shape[1]} {'classes' if classes else 'columns'} and the network "
                        f"{outputs} outputs")
        classes = outputs if classes else 0
        which = _word("loss", loss or ("cross-entropy" if classes else "square"), ("square", "cross-entropy"))
        return x, y, _Data(x.ctypes.data, y.ctypes.data, len(x), classes), which

    def fit(self, x, y, loss=None, optimizer="adam", rate=0, batch=64, epochs=20, steps=0, seed=1, weight_decay=0):
        """Trains on x and y: classes (integers) or targets; as limn train. Returns the model."""
        x, y, data, which = self._data(x, y, loss)
        names = ("sgd", "momentum", "adam", "rmsprop", "adamw")
        spec = _FitSpec(loss=which, optimizer=_word("optimizer", optimizer, names), rate=rate, batch=batch,
                        epochs=epochs, steps=steps, seed=seed, weight_decay=weight_decay)
        _call("nn_fit", c_void_p(self._model), byref(data), byref(spec), None)
        return self

    def evaluate(self, x, y, loss=None):
        """Mean loss, and accuracy (NaN without classes)."""
        x, y, data, which = self._data(x, y, loss)
        mean, accuracy = c_double(), c_double()
        _call("nn_evaluate", c_void_p(self._model), byref(data), which, byref(mean), byref(accuracy))
        return mean.value, accuracy.value if data.classes else float("nan")

    def save(self, path):
        """Weights as .safetensors, with what limn --weights asks for."""
        _call("nn_save", c_void_p(self._model), os.fsencode(path))

    def load(self, path):
        _call("nn_load", c_void_p(self._model), os.fsencode(path))
        return self


def _labels(y):
    """float64 of (rows) classes and how many there are, or of (rows, outputs) targets and 0."""
    given = numpy.asarray(y)
    a = _array(given, "y", (1, 2))
    if given.dtype.kind in "iub" and a.size == len(a):
        if a.min() < 0:
            raise Error("y: classes are counted from 0")
        return a.reshape(-1), int(a.max()) + 1
    return a.reshape(len(a), -1), 0


def _network(network, x, outputs, scale, sigma_in, settings):
    if isinstance(network, Network):
        return network
    x = numpy.asarray(x)
    if x.ndim not in (2, 3, 4):
        raise Error(f"x: its shape is {x.shape}, not (rows, features), (rows, time, features) or (rows, height, width, "
                    "channels)")
    return Network(network, x.shape[1] if x.ndim == 2 else x.shape[1:], outputs, scale, sigma_in, **settings)


# ---- the tool's commands ---------------------------------------------------------------------------------------------
def kernel(network, x, x2=None, kind="ntk", width=None, seed=1, at_width=None, check=True, threads=1, outputs=None,
           scale="ntk", sigma_in="init", **settings):
    """limn kernel: the NTK or the NNGP kernel, (rows, rows2): see Network.kernel."""
    net = _network(network, x, outputs, scale, sigma_in, settings)
    return net.kernel(x, x2, kind, width, seed, at_width, check, threads)


def predict(network, x, y, x2, times=numpy.inf, ridge=0, noise=0, kind="ntk", rate=1, width=None, seed=1,
            covariance=False, check=True, threads=1, scale="ntk", sigma_in="init", **settings):
    """limn predict: the outputs at x2 after gradient flow on the square loss from the network's own start (width), or
    of an ensemble of infinite width: its mean, and with covariance also that, (rows2, rows2), at each time. Classes y
    (integers) are one-hot rows. ridge is added to the kernel's diagonal times the mean of it, noise as it is. times:
    one, or a list, ascending; then outputs are (times, rows2, outputs)."""
    y, classes = _labels(y)
    if classes:
        y = numpy.eye(classes)[y.astype(int)]
    net = _network(network, x, y.shape[1], scale, sigma_in, settings)
    x, x2 = net._rows(x), net._rows(x2, "x2")
    if y.shape != (len(x), net.outputs):
        raise Error(f"y: its shape is {y.shape}; the inputs and the network have ({len(x)}, {net.outputs})")
    start = (None, None)
    if width is not None:
        model = net.model(width, seed, threads=threads)
        start = model(x), model(x2)
        k, cross = model.kernel(x, kind=kind, training=True), model.kernel(x2, x, kind, True)
    else:
        why = ctypes.create_string_buffer(300)
        if not _lib.tp_outputs_centred(net._translated(), why, c_size_t(300)):
            raise Error(f"the mean of the outputs at the start is not shown to be 0 ({why.value.decode()}): give width")
        if net.outputs > 1 and not _lib.tp_outputs_independent(net._translated()):
            raise Error("the outputs depend on each other: limn predict predicts them together")
        k = net.kernel(x, None, kind, None, seed, None, check, threads, True)
        cross = net.kernel(x2, x, kind, None, seed, None, False, threads, True)
    at = numpy.atleast_1d(numpy.asarray(times, dtype=numpy.float64))
    machine, training = _machine(k, ridge, noise, threads), _Training(rate=rate)
    try:
        a, n, columns = numpy.empty((len(at), *y.shape)), len(x), c_size_t(net.outputs)
        _call("tp_coefficients", machine, byref(training), _pointer(y), columns, _pointer(start[0]), _pointer(at),
              c_size_t(len(at)), _pointer(a))
        f = numpy.empty((len(at), len(x2), net.outputs))
        for t in range(len(at)):
            _lib.tp_outputs_at(machine, _pointer(cross), c_size_t(len(x2)), _pointer(a[t]), columns,
                               _pointer(start[1]), _pointer(f[t]))
        spread = _covariances(net, machine, training, at, cross, x, x2, kind, width, check) if covariance else None
    finally:
        _lib.tp_kernel_model_free(machine)
    if numpy.ndim(times) == 0:
        f, spread = f[0], None if spread is None else spread[0]
    return (f, spread) if covariance else f


def _machine(k, ridge, noise, threads):
    memory = _call("ad_alloc", c_size_t(k.size), c_size_t(8), b"a kernel")
    ctypes.memmove(memory, k.ctypes.data, k.nbytes)
    spec = _ModelSpec(ridge=ridge, noise=noise, threads=threads)
    return c_void_p(_call("tp_kernel_model_new", c_void_p(memory), c_size_t(len(k)), byref(spec)))


def _covariances(net, machine, training, at, cross, x, x2, kind, width, check):
    if width is not None:
        raise Error("covariance is an ensemble's: of the limit, without width")
    own = net.kernel(x2, None, "nngp", check=check)
    if kind == "ntk":
        train, between = net.kernel(x, None, "nngp", check=check), net.kernel(x2, x, "nngp", check=False)
        prior = _Prior(train.ctypes.data, between.ctypes.data, own.ctypes.data, False)
    else:
        prior = _Prior(None, None, own.ctypes.data, False)
    out = numpy.empty((len(at), len(x2), len(x2)))
    for t, time in enumerate(at):
        _call("tp_covariance", machine, byref(training), c_size_t(net.outputs), c_double(time), _pointer(cross),
              c_size_t(len(x2)), byref(prior), _pointer(out[t]))
    return out


def train(network, x, y, width=512, seed=1, dtype=numpy.float32, threads=1, scale="ntk", sigma_in="init", loss=None,
          optimizer="adam", rate=0, batch=64, epochs=20, steps=0, weight_decay=0, **settings):
    """limn train: a network of a width, trained. Returns its Model."""
    labels, classes = _labels(y)
    net = _network(network, x, classes or labels.shape[1], scale, sigma_in, settings)
    return net.model(width, seed, dtype, threads).fit(x, y, loss, optimizer, rate, batch, epochs, steps, seed,
                                                      weight_decay)


def program(network, features=784, style="text", outputs=None, scale="ntk", sigma_in="init", **settings):
    """limn program: the Netsor-T program as a text."""
    return Network(network, features, outputs, scale, sigma_in, **settings).program(style)


def recursion(network, features=784, style="text", outputs=None, scale="ntk", sigma_in="init", **settings):
    """limn program --recursion: the recursion of the kernels as a text."""
    return Network(network, features, outputs, scale, sigma_in, **settings).recursion(style)
