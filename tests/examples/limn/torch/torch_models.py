"""torch_models.py LIMN FOLDER: models of PyTorch through limn import and back by limn export.

For each model: outputs of limn's network beside PyTorch's, the empirical NTK beside the Gram matrix of PyTorch's
Jacobian, and outputs of PyTorch again with what limn exports. Prints a line a model; exit status 0: all agree,
1: some do not, 77: there is no PyTorch.
"""
import json, os, struct, subprocess, sys

try:
    import numpy as np
    import torch
    from torch import nn
except ImportError as error:
    print("no PyTorch for this Python:", error)
    sys.exit(77)

limn, folder = os.path.abspath(sys.argv[1]), sys.argv[2]
os.chdir(folder)
torch.manual_seed(7)
torch.set_num_threads(1)
TYPES = {torch.float32: ("F32", "<f4"), torch.float64: ("F64", "<f8"), torch.int64: ("I64", "<i8"),
         torch.float16: ("F16", "<f2")}


def save(path, state):
    header, data = {}, b""
    for name, value in state.items():
        kind, code = TYPES[value.dtype]
        part = value.detach().numpy().astype(code).tobytes()
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def load(path):
    with open(path, "rb") as file:
        bytes_ = file.read()
    length = struct.unpack("<Q", bytes_[:8])[0]
    header, data, state = json.loads(bytes_[8:8 + length]), bytes_[8 + length:], {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            code = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}[entry["dtype"]]
            state[name] = torch.tensor(np.frombuffer(data[start:end], code).reshape(entry["shape"]).copy())
    return state


def run(arguments):
    done = subprocess.run([limn] + arguments.split(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit("limn %s: %d, %s" % (arguments, done.returncode, done.stderr))
    return done.stdout


class Recurrent(nn.Module):
    def __init__(self, kind, layers, both, read, **more):
        super().__init__()
        self.rnn = kind(5, 6, num_layers=layers, bidirectional=both, batch_first=True, **more)
        self.head = nn.Linear(12 if both else 6, 3)
        self.layers, self.read = layers, read

    def forward(self, x):
        out, h = self.rnn(x)
        h = h[0] if isinstance(h, tuple) else h
        last = torch.cat(list(h.view(self.layers, -1, x.shape[0], 6)[-1]), 1)
        return self.head({"last": last, "mean": out.mean(1), "last_step": out[:, -1]}[self.read])


def jacobian_gram(model, x):
    parameters = list(model.parameters())
    out = model(x)
    rows = []
    for f in out.reshape(-1):
        gradients = torch.autograd.grad(f, parameters, retain_graph=True)
        rows.append(torch.cat([g.reshape(-1) for g in gradients]))
    j = torch.stack(rows).reshape(out.shape[0], out.shape[1], -1)
    return torch.einsum("iop,jqp->ijoq", j, j).detach().numpy()


def off(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def stir(model):
    """Numbers that a fresh model does not have: means, variances and weights of normalisation."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            for t in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(t, 0.3, 0.8)
            nn.init.uniform_(module.running_var, 0.5, 2)
            module.num_batches_tracked += 3


def check(name, model, net, options, x, dtype, import_options="", sized=""):
    stir(model)
    model = model.to(dtype).eval()
    x = x.to(dtype)
    np.save("x.npy", x.numpy().astype("<f8"))
    save("torch.safetensors", model.state_dict())
    expected = model(x).detach().numpy()
    wide = dtype == torch.float64
    worst = {"outputs": 0, "NTK": 0, "export": 0}
    for scale in ["standard", "ntk", "meanfield", "mup"]:
        run("import torch.safetensors %s %s --scale %s %s %s --out w.safetensors" % (net, options, scale, import_options,
                                                                                   sized))
        run("eval %s --weights w.safetensors --inputs x.npy --out f.npy" % net)
        worst["outputs"] = max(worst["outputs"], off(np.load("f.npy"), expected))
        if scale == "standard":
            mode = " --mode eval" if net == "batchnorm" else ""
            run("kernel %s --weights w.safetensors --inputs x.npy --outputs full --out k.npy%s" % (net, mode))
            worst["NTK"] = max(worst["NTK"], off(np.load("k.npy"), jacobian_gram(model, x)))
        maps = import_options or "--like torch.safetensors"
        run("export w.safetensors %s %s %s --out back.safetensors" % (net, maps, sized))
        state = load("back.safetensors")
        before = {key: value.clone() for key, value in model.state_dict().items()}
        for p in model.parameters():
            nn.init.zeros_(p)
        model.load_state_dict(state, strict=True)
        worst["export"] = max(worst["export"], off(model(x).detach().numpy(), expected))
        model.load_state_dict(before)
    limits = dict.fromkeys(worst, 1e-12 if wide else 1e-6)
    good = all(worst[key] <= limits[key] for key in worst)
    print("%s %-26s %s: %s" % ("ok  " if good else "FAIL", name, "double" if wide else "float",
                               ", ".join("%s %.1e" % item for item in worst.items())))
    return good


def mlp(activation, sizes, bias=True):
    layers = []
    for k in range(len(sizes) - 1):
        layers.append(nn.Linear(sizes[k], sizes[k + 1], bias=bias))
        if k + 2 < len(sizes):
            layers.append(activation())
    return nn.Sequential(*layers)


def batchnorm(bias):
    return nn.Sequential(nn.Linear(5, 7, bias=bias), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 7, bias=bias),
                         nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(5 if k == 0 else 6, 6) for k in range(11)])
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x)


class Pictures(nn.Sequential):
    """(rows, height, width, channels), or (rows, time, features)."""

    def forward(self, x):
        return super().forward(x.movedim(-1, 1))


class Averages(nn.Module):
    def forward(self, x):
        return x.flatten(2).mean(2)


class Twins(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.out(torch.relu(self.second(torch.relu(self.first(x)))))


good = True
rows, sequences = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 6, 5, dtype=torch.float64)
for dtype in (torch.float64, torch.float32):
    for word, activation in (("relu", nn.ReLU), ("tanh", nn.Tanh), ("gelu", nn.GELU), ("sigmoid", nn.Sigmoid),
                             ("softplus", nn.Softplus), ("swish", nn.SiLU), ("elu", nn.ELU), ("silu", nn.SiLU),
                             ("selu", nn.SELU), ("mish", nn.Mish), ("hardtanh", nn.Hardtanh)):
        good &= check("mlp " + word, mlp(activation, [5, 8, 8, 8, 3]), "mlp", "--set sigma_b=0 --set phi=" + word,
                      rows, dtype)
    good &= check("mlp without biases", mlp(nn.ReLU, [5, 8, 3], False), "mlp", "--set depth=1", rows, dtype)
    good &= check("mlp of one size", mlp(nn.ReLU, [5, 5, 5, 5]), "mlp", "--set depth=2 --set sigma_b=0", rows, dtype)
    good &= check("mlp of eleven layers", Named(), "mlp", "--set depth=11 --set sigma_b=0 --set phi=tanh", rows, dtype)
    good &= check("mlp by maps", Twins(), "mlp", "--set depth=2 --set sigma_b=0",
                  torch.randn(4, 6, dtype=torch.float64), dtype,
                  "--map first=dense1 --map second=dense2 --map out.weight=readout.weight --map out.bias=readout.bias")
    for bias in (False, True):
        good &= check("batchnorm, biases " + str(bias), batchnorm(bias), "batchnorm",
                      "--set depth=2 --set affine=yes --set readout_bias=0" + (" --set sigma_b=0" if bias else ""),
                      rows, dtype)
    for kind, cell, more in ((nn.RNN, "torch_rnn", {}), (nn.RNN, "torch_rnn", {"nonlinearity": "relu"}),
                             (nn.GRU, "torch_gru", {}), (nn.GRU, "torch_gru", {"bias": False}),
                             (nn.LSTM, "torch_lstm", {}), (nn.LSTM, "torch_lstm", {"bias": False})):
        for layers in (1, 2):
            for both in (False, True):
                read = ("last", "mean", "last_step")[(layers + both) % 3]
                options = "--set cell=%s --set depth=%d --set bidirectional=%s --set readout=%s" % (
                    cell, layers, "yes" if both else "no", read)
                if "nonlinearity" in more:
                    options += " --set phi=relu"
                if "bias" in more:
                    options += " --set sigma_b=none"
                good &= check("%s, %d layers, %s%s" % (cell, layers, "both, " if both else "", read),
                              Recurrent(kind, layers, both, read, **more), "rnn", options, sequences, dtype)
pictures, steps = torch.randn(4, 7, 6, 2, dtype=torch.float64), torch.randn(4, 9, 3, dtype=torch.float64)
for dtype in (torch.float64, torch.float32):
    good &= check("cnn, pools, flatten", Pictures(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
                                                  nn.Conv2d(5, 5, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
                                                  nn.Flatten(), nn.Linear(5, 3)),
                  "cnn", "--set depth=2 --set pool=2 --set readout=flatten --set sigma_b=0", pictures, dtype,
                  sized="--inputs x.npy")
    good &= check("cnn, valid, flatten", Pictures(nn.Conv2d(2, 4, 3, bias=False), nn.Tanh(), nn.Conv2d(4, 4, 3, bias=False),
                                                  nn.Tanh(), nn.Flatten(), nn.Linear(4 * 3 * 2, 3, bias=False)),
                  "cnn", "--set depth=2 --set padding=valid --set readout=flatten --set phi=tanh", pictures, dtype,
                  sized="--inputs x.npy")
    good &= check("cnn, around, averages", Pictures(nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.GELU(),
                                                    Averages(), nn.Linear(4, 3)),
                  "cnn", "--set depth=1 --set padding=circular --set phi=gelu --set sigma_b=0", pictures, dtype,
                  sized="--inputs x.npy")
    good &= check("cnn of sequences", Pictures(nn.Conv1d(3, 6, 5, padding=2), nn.ReLU(), nn.Conv1d(6, 6, 5, padding=2),
                                               nn.ReLU(), nn.Flatten(), nn.Linear(6 * 9, 3)),
                  "cnn", "--set depth=2 --set filter=5 --set readout=flatten --set sigma_b=0", steps, dtype,
                  sized="--inputs x.npy")
sys.exit(0 if good else 1)
