"""PyTorch's side of train.c: reads "go STEPS" lines, answers with the seconds that STEPS training steps took."""
import sys
import time

try:
    import torch
except ImportError:
    print("none", flush=True)
    sys.exit(0)

torch.set_num_threads(1)
sizes, batch, batches, rate = [int(n) for n in sys.argv[1].split("-")], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
norm, cnn = sys.argv[5] == "batchnorm", sys.argv[5] == "cnn"
layers = []
for n_in, n_out in zip(sizes, sizes[1:-1]):
    layers += [torch.nn.Linear(n_in, n_out, bias=not norm)]
    layers += [torch.nn.BatchNorm1d(n_out)] if norm else []
    layers += [torch.nn.ReLU()]
net = torch.nn.Sequential(*layers, torch.nn.Linear(*sizes[-2:], bias=not norm))
if cnn:  # pictures of 28 x 28, averages of 2 x 2 after each filter
    layers, channels = [torch.nn.Unflatten(1, (1, 28, 28))], 1
    for n in sizes[1:-1]:
        layers += [torch.nn.Conv2d(channels, n, 3, padding=1, bias=False), torch.nn.ReLU(), torch.nn.AvgPool2d(2)]
        channels = n
    net = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(49 * channels, sizes[-1], bias=False))
if sys.argv[5].startswith("cell="):  # 28 steps of 28 features, the last state read out
    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            cell = torch.nn.GRU if sys.argv[5] == "cell=torch_gru" else torch.nn.RNN
            self.cell, self.readout = cell(28, sizes[1], batch_first=True), torch.nn.Linear(sizes[1], sizes[-1])

        def forward(self, x):
            return self.readout(self.cell(x.view(-1, 28, 28))[0][:, -1])
    net = Recurrent()
loss_of = torch.nn.CrossEntropyLoss()
rule = torch.optim.SGD(net.parameters(), lr=rate)
xs = [torch.randn(batch, sizes[0]) for _ in range(batches)]
ys = [torch.randint(0, sizes[-1], (batch,)) for _ in range(batches)]


def train(steps):
    start = time.process_time()
    for step in range(steps):
        rule.zero_grad()
        loss = loss_of(net(xs[step % batches]), ys[step % batches])
        loss.backward()
        rule.step()
    return time.process_time() - start


train(5)
print(torch.__version__, flush=True)
for line in sys.stdin:
    print(train(int(line.split()[1])), flush=True)
