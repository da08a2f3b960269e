"""use_limn.py PREFIX SOURCE: the module limn against the tool of PREFIX, the references of SOURCE/tests/reference and
NumPy; its structures against the headers. In an empty folder."""

import ctypes
import json
import os
import subprocess
import sys

import numpy

import limn

prefix, source = sys.argv[1:]
rng = numpy.random.default_rng(7)
x, x2 = rng.standard_normal((12, 5)), rng.standard_normal((4, 5))
y, classes = numpy.stack([x[:, 0], numpy.sin(x[:, 1])], 1), (x[:, 0] > 0).astype(int)
NET = """#include "limn.h"
ad_var limn_network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_tanh(nn_dense_with(net, "first", x, n, .sigma_w = nn_setting_real(net, "sigma_w", 1.5)));
    return nn_readout(net, "readout", x);
}
"""
with open("net.c", "w") as file:
    file.write(NET)
numpy.save("x.npy", x)
numpy.save("x2.npy", x2)
numpy.save("y.npy", y)


def tool(*arguments):
    done = subprocess.run([os.path.join(prefix, "bin", "limn"), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def near(a, b, tolerance=1e-12):
    assert a.shape == b.shape and abs(a - b).max() <= tolerance * abs(b).max(), (a, b)


def refuses(text, function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except limn.Error as error:
        assert text in str(error), error
        return
    raise AssertionError(f"nothing refused it: {text}")


def structures_are_those_of_the_headers():
    lines = ["#include <limn/limn.h>", "int main(void)", "{"]
    members = {name: [field for field, *_ in structure._fields_ if field != "_more"]
               for name, structure in limn._STRUCTURES.items()}
    for name, fields in members.items():
        lines.append(f'    printf("{name} %zu\\n", sizeof({name}));')
        for field in fields:
            lines.append(f'    printf("{name}.{field} %zu\\n", offsetof({name}, {field}));')
    for field in ("shape", "name"):
        lines.append(f'    printf("ad_node.{field} %zu\\n", offsetof(ad_node, {field}));')
    with open("layout.c", "w") as file:
        file.write("\n".join(lines + ["    return 0;", "}", ""]))
    subprocess.run(["cc", "-I" + os.path.join(prefix, "include"), "layout.c", "-o", "layout"], check=True)
    told = dict(line.split() for line in subprocess.check_output(["./layout"], text=True).splitlines())
    for name, structure in limn._STRUCTURES.items():
        room = hasattr(structure, "_more")
        size, told_size = ctypes.sizeof(structure), int(told[name])
        assert size >= told_size if room else size == told_size, name
        for field in members[name]:
            assert getattr(structure, field).offset == int(told[f"{name}.{field}"]), (name, field)
    for field in ("shape", "name"):
        assert getattr(limn._Node, field).offset == int(told[f"ad_node.{field}"]), field
    for k, name in enumerate(("sgd", "momentum", "adam", "rmsprop", "adamw")):
        assert limn._lib.nn_optimizer_name(k) == name.encode()
    for k, name in enumerate(("ntk", "standard", "meanfield", "mup")):
        assert limn._lib.nn_parametrization_name(k) == name.encode()


def kernels():
    for name, words, keywords in (("mlp", ["--set", "phi=erf"], {"phi": "erf"}),
                                  ("mlp", ["--width", "64", "--seed", "3"], {"width": 64, "seed": 3}),
                                  ("net.c", ["--set", "sigma_w=2"], {"sigma_w": 2}),
                                  ("net.c", ["--width", "32"], {"width": 32})):
        for kind in ("ntk", "nngp"):
            tool("kernel", name, "--inputs", "x.npy", "--inputs2", "x2.npy", "--kernel", kind, "--out", "k.npy", *words)
            near(limn.kernel(name, x, x2, kind=kind, **keywords), numpy.load("k.npy"))
    with open(os.path.join(source, "tests", "reference", "mlp_relu_d3_bias.json")) as file:
        reference = json.load(file)
    i, j = numpy.arange(5)[:, None], numpy.arange(10)
    inputs = numpy.sin((1 + 3 * i) + (0.7 * j) * (i + 1))
    for kind in ("ntk", "nngp"):
        got = limn.kernel("mlp", inputs, kind=kind, sigma_in="multiplier", sigma_w=1.5, sigma_b=0.3)
        near(got, numpy.array(reference[kind]).reshape(got.shape))
    # sequences, and arrays that are not contiguous, or of another type
    steps = rng.standard_normal((6, 4, 3))
    k = limn.kernel("rnn", steps)
    near(limn.kernel("rnn", steps[::2]), k[::2, ::2])
    near(limn.kernel("mlp", numpy.asfortranarray(x)), limn.kernel("mlp", x))
    near(limn.kernel("mlp", x.astype(numpy.float32)), limn.kernel("mlp", x), 1e-6)


def predictions():
    tool("predict", "mlp", "--inputs", "x.npy", "--labels", "y.npy", "--inputs2", "x2.npy", "--times", "1,10,inf",
         "--ridge", "0.01", "--out", "f.npy", "--covariance", "c.npy")
    f, c = limn.predict("mlp", x, y, x2, times=[1, 10, numpy.inf], ridge=0.01, covariance=True)
    near(f, numpy.load("f.npy"), 1e-9)
    near(c, numpy.load("c.npy"), 1e-9)
    k, cross = limn.kernel("mlp", x), limn.kernel("mlp", x2, x)
    near(limn.predict("mlp", x, y, x2), cross @ numpy.linalg.solve(k, y), 1e-9)
    near(limn.predict("mlp", x, y, x2, noise=0.2), cross @ numpy.linalg.solve(k + 0.2 * numpy.eye(12), y), 1e-9)
    tool("predict", "mlp", "--inputs", "x.npy", "--labels", "y.npy", "--inputs2", "x2.npy", "--times", "inf",
         "--width", "64", "--out", "f.npy")
    near(limn.predict("mlp", x, y, x2, width=64)[None], numpy.load("f.npy"), 1e-7)
    assert limn.predict("mlp", x, classes, x2).shape == (4, 2)


def training():
    model = limn.train("mlp", x, y, width=64, epochs=1500, batch=0, dtype=numpy.float64)
    assert abs(model(x) - y).max() < 1e-2 and model.evaluate(x, y)[0] < 1e-4
    model.save("w.safetensors")
    tool("eval", "mlp", "--weights", "w.safetensors", "--inputs", "x2.npy", "--out", "f.npy")
    near(model(x2), numpy.load("f.npy"))
    near(model.network.model(64, seed=9).load("w.safetensors")(x2), model(x2))
    # the parameters are the network: the outputs by NumPy, and after one was written to
    p, n = model.parameters, 64
    assert list(p) == ["dense1.weight", "dense2.weight", "dense3.weight", "readout.weight"]
    for _ in range(2):
        h = x2 @ p["dense1.weight"] / numpy.sqrt(5)
        for name in ("dense2.weight", "dense3.weight"):
            h = numpy.maximum(h, 0) @ p[name] / numpy.sqrt(n)
        near(model(x2), numpy.maximum(h, 0) @ p["readout.weight"] / numpy.sqrt(n))
        p["readout.weight"][:] *= 2
    del model
    assert numpy.isfinite(p["readout.weight"]).all()
    assert limn.train("net.c", x, classes, width=64, epochs=300, rate=0.02).evaluate(x, classes)[1] == 1


def programs():
    assert limn.program("net.c", features=5) == tool("program", "net.c", "--inputs", "x.npy")
    assert "\\begin{" in limn.program("mlp", features=5, style="latex")
    assert limn.recursion("mlp", features=5) == tool("program", "mlp", "--recursion", "--inputs", "x.npy")


def errors():
    refuses("no setting dpeth (did you mean depth?)", limn.kernel, "mlp", x, dpeth=2)
    refuses("unknown network mpl", limn.kernel, "mpl", x)
    refuses("rnn takes (rows, time, features)", limn.kernel, "rnn", x)
    refuses("its shape is (12,)", limn.kernel, "mlp", x[:, 0])
    refuses("its shape is (4, 4)", limn.kernel, "mlp", x, x2[:, :4])
    refuses("not all of its values are finite", limn.kernel, "mlp", x * numpy.inf)
    refuses("kind=nkt: there are ntk, nngp", limn.kernel, "mlp", x, kind="nkt")
    refuses("width=-1", limn.kernel, "mlp", x, width=-1)
    refuses("none.c: there is no such file", limn.program, "none.c")
    refuses("powers", limn.kernel, "mlp", x, scale="standard")
    refuses("y has 11 rows and x 12", limn.Network("mlp", 5, 2).model(8).fit, x, y[:-1])
    refuses("y has 2 columns and the network 1 outputs", limn.Network("mlp", 5).model(8).fit, x, y)
    with open("broken.c", "w") as file:
        file.write("not C")
    refuses("broken.c: it does not compile", limn.program, "broken.c")
    with open("pole.c", "w") as file:
        file.write(NET.replace("ad_tanh", "ad_rsqrt"))
    refuses("function is not a number at x", limn.kernel, "pole.c", x)


if __name__ == "__main__":
    for test in (structures_are_those_of_the_headers, kernels, predictions, training, programs, errors):
        test()
    print("limn.py: all is well")
