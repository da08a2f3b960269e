"""functorch's side of empirical.c: Jacobians of samples and their products; prints milliseconds of one processor."""
import sys
import time

try:
    import torch
    from functorch import jacrev, vmap
except ImportError:
    sys.exit(0)

torch.set_num_threads(1)
torch.manual_seed(0)
x = torch.randn(64, 784)


def rnn_of(p, x):  # one sample, (784)
    h = torch.zeros(128)
    for step in x.view(28, 28):
        h = torch.tanh(step @ p["u"] + h @ p["w"] + p["b"])
    return h @ p["v"]


def batchnorm_of(p, x):  # all of a batch
    for k in "12":
        h = x @ p["w" + k]
        h = (h - h.mean(0)) / torch.sqrt(h.var(0, unbiased=False) + 1e-5)
        x = torch.relu(h * p["g" + k] + p["b" + k])
    return x @ p["v"]


def ntk(jacobian, rows):
    return sum(j.reshape(rows, -1) @ j.reshape(rows, -1).T for j in jacobian.values())


rnn = {"u": torch.randn(28, 128) / 5, "w": torch.randn(128, 128) / 11, "b": torch.zeros(128), "v": torch.randn(128, 10) / 11}
norm = {"w1": torch.randn(784, 512) / 28, "g1": torch.ones(512), "b1": torch.zeros(512),
        "w2": torch.randn(512, 512) / 22, "g2": torch.ones(512), "b2": torch.zeros(512), "v": torch.randn(512, 10) / 22}
for name, find in (("rnn", lambda: vmap(jacrev(rnn_of), (None, 0))(rnn, x)),
                   ("batchnorm", lambda: jacrev(batchnorm_of)(norm, x))):
    for turn in range(2):
        start = time.process_time()
        ntk(find(), 640)
        seconds = time.process_time() - start
    print("%s: the same by Jacobians, 1 rounds, one thread\n  %-42s %7.1f ms" % (name, "functorch", 1e3 * seconds))
