"""run_documents.py PREFIX SOURCE [--update] DOCUMENT...: every code block and command of the documents runs, in an
empty folder with the installed tree of PREFIX, and README's table of features has the rows of features.txt.

    ```c net.c        the block is a file of that name
    ```sh             each line is a command
    ```sh by=F,G      commands that are not for a test: the first words of each stand in these files, which run them
    ```console        "$ command" and what it prints: a line "..." stands for any number of lines, numbers agree to
                      1e-5, and bounds and what samples say differ from run to run
    ```text           no code
    `limn ...`        a command in the text; NET, FILE, N, K stand for a network, a file, numbers; long ones run short

--update writes into the documents what the commands of console blocks print."""

import os
import re
import subprocess
import sys

import numpy

prefix, source = sys.argv[1:3]
update = "--update" in sys.argv
documents = [word for word in sys.argv[3:] if word != "--update"]
failures, ran = [], 0

NETWORKS = {
    "norm.c": "    ad_var h = nn_layernorm(net, \"norm\", nn_dense(net, \"a\", x, n));\n    x = ad_relu(h);\n",
    "own.c": "    static const ad_function own = { .name = \"cube\", .count = 2, .derivatives = { cube, slope } };\n"
             "    x = ad_custom(&own, nn_dense(net, \"a\", x, n));\n",
    "tied.c": "    ad_var h = nn_dense(net, \"a\", x, n);\n    nn_weight w = nn_make_weight(net, \"w\", n, n, 1);\n"
              "    h = ad_add(h, h);\n    x = ad_tanh(nn_apply_t(w, nn_apply(w, ad_tanh(h))));\n"}
TOP = """#include "limn.h"
static void cube(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * x[i] * x[i];
}
static void slope(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 3 * x[i] * x[i];
}
ad_var limn_network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    (void)cube, (void)slope;
"""
SHORT = {"train": "--steps 2 --seeds 1 --width 16", "kernel": "--probes 4", "predict": "--train 20 --test 9",
         "report": "--widths 16,32 --seeds 2 --steps 2 --probes 4 --no-check"}


def environment():
    folder = os.path.dirname(next(os.path.join(top, "liblimn.a") for top, _, files in os.walk(prefix)
                                  if "liblimn.a" in files))
    os.makedirs("bin", exist_ok=True)
    os.symlink(sys.executable, os.path.join("bin", "python3"))
    os.environ.update(PATH=f"{os.getcwd()}/bin:{prefix}/bin:{os.environ['PATH']}", LD_LIBRARY_PATH=folder,
                      SOURCE=source, PKG_CONFIG_PATH=os.path.join(folder, "pkgconfig"), CMAKE_PREFIX_PATH=prefix,
                      PYTHONPATH=os.path.join(prefix, "lib", "python3", "dist-packages"), OMP_WAIT_POLICY="passive")
    os.symlink(os.path.join(source, "examples"), "examples")
    for name, text in NETWORKS.items():
        with open(name, "w") as file:
            file.write(TOP + text + '    return nn_readout(net, "readout", x);\n}\n')
    numpy.save("x.npy", numpy.random.default_rng(1).standard_normal((6, 3)))
    numpy.save("y.npy", numpy.arange(6.0))
    for name in ("x1.npy", "x2.npy"):
        numpy.save(name, numpy.load("x.npy")[:4])


def run(command, where):
    global ran
    ran += 1
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, timeout=100)
    if done.returncode:
        failures.append(f"{where}: {command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def same_line(wanted, got):
    if wanted.startswith("checked against samples"):
        return got.startswith("checked against samples")
    bound = re.compile(r"(relative error) \S+")  # its last digit is the processor's
    wanted, got = bound.sub(r"\1", wanted), bound.sub(r"\1", got)
    number = re.compile(r"-?\d+\.\d+(?:e[-+]\d+)?")
    if number.sub("#", " ".join(wanted.split())) != number.sub("#", " ".join(got.split())):
        return False
    pairs = list(zip(number.findall(wanted), number.findall(got)))
    if " +- " not in wanted:
        return all(abs(float(a) - float(b)) <= 1e-5 * abs(float(a)) + 1e-12 for a, b in pairs)
    # By samples, whose draws are turned as the processor's LAPACK turns them: means within both standard errors, these
    # within a factor of two, and what has none to a hundredth.
    mean = re.compile(r"(\S+) \+- (\S+)")
    for (a, of_a), (b, of_b) in zip(mean.findall(wanted), mean.findall(got)):
        if abs(float(a) - float(b)) > 3 * (float(of_a) + float(of_b)) or float(of_b) > 2 * float(of_a):
            return False
        pairs = [pair for pair in pairs if pair not in ((a, b), (of_a, of_b))]
    return all(abs(float(a) - float(b)) <= 1e-2 * abs(float(a)) for a, b in pairs)


def same(wanted, got):
    if not wanted:
        return not got
    if wanted[0].strip() == "...":
        return any(same(wanted[1:], got[k:]) for k in range(len(got) + 1))
    return bool(got) and same_line(wanted[0], got[0]) and same(wanted[1:], got[1:])


def console(lines, where):
    """Runs the commands; returns the block with what they print."""
    out, k = [], 0
    while k < len(lines):
        command = lines[k].removeprefix("$ ")
        assert command != lines[k], f"{where}: {lines[k]} is no command"
        first = k + 1  # of what it prints
        while lines[first - 1].endswith("\\"):
            command = command[:-1] + lines[first].strip()
            first += 1
        end = first
        while end < len(lines) and not lines[end].startswith("$ "):
            end += 1
        wanted, got = lines[first:end], run(command, where).rstrip("\n").split("\n")
        got = [] if got == [""] else [line.rstrip() for line in got]
        if not same(wanted, got) and not update:
            failures.append(f"{where}: {command}: prints\n" + "\n".join(got) + "\nand not\n" + "\n".join(wanted))
        keep = wanted if same(wanted, got) else got
        out += lines[k:first] + keep
        k = end
    return out


def block(info, lines, where):
    words = info.split()
    kind, name = (words + ["", ""])[:2]
    if kind == "console":
        return console(lines, where)
    if kind == "sh" and name.startswith("by="):
        text = ""
        for path in name[3:].split(","):
            with open(os.path.join(source, path)) as file:
                text += file.read()
        for command in re.split(r"\n|&&", "\n".join(re.sub(r"#.*", "", line) for line in lines)):
            first = re.sub(r"^\(|\bsudo\b", "", command).split()
            if first and first[0] != "cd" and first[-1 if first[0] == "sh" else 0].split("/")[-1] not in text:
                failures.append(f"{where}: {command.strip()} stands in none of {name[3:]}")
    elif kind == "sh":
        run("\n".join(lines), where)
    elif kind == "text":
        pass
    elif name:
        with open(name, "w") as file:
            file.write("\n".join(lines) + "\n")
    else:
        failures.append(f"{where}: a block that nothing runs")
    return lines


def command_in_text(span, where):
    command = re.sub(r"\\?\|\S*", "", " ".join(span.split()))
    for word, stands in (("NET", "mlp"), ("FILE", "examples/netsor.tp"), ("W_std", "1.5"), ("b_std", "0.1"),
                         ("N", "32"), ("K", "2"), ("F", "f"), ("PATH", "digits"), ("COMMAND", "kernel")):
        command = re.sub(rf"(?<![\w-]){word}(?![\w.])", stands, command)
    words = command.split()
    if len(words) == 2 and words[1] in SHORT or len(words) == 2 and words[1] in ("limit", "program", "eval", "import",
                                                                                 "export"):
        command += " --help"
    elif len(words) > 1:
        command += " " + SHORT.get(words[1], "")
    run(command, where)


def document(path):
    with open(os.path.join(source, path)) as file:
        lines = file.read().split("\n")
    out, text, k = [], [], 0
    while k < len(lines):
        if not lines[k].startswith("```"):
            if lines[k].startswith("    ") and text[-1:] == [""]:
                failures.append(f"{path}:{k + 1}: code without a fence")
            text.append(lines[k])
            out.append(lines[k])
            k += 1
            continue
        end = next(i for i in range(k + 1, len(lines)) if lines[i].startswith("```"))
        out += [lines[k]] + block(lines[k][3:], lines[k + 1:end], f"{path}:{k + 1}") + [lines[end]]
        k = end + 1
    for span in re.findall(r"`(limn [^`]*)`", "\n".join(text)):
        command_in_text(span, path)
    if update:
        with open(os.path.join(source, path), "w") as file:
            file.write("\n".join(out))
    return text


def features(text):
    """README's table against features.txt, whose commands run."""
    numpy.save("x.npy", numpy.random.default_rng(1).standard_normal((6, 3)))
    numpy.save("y.npy", numpy.arange(6.0))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text if line.startswith("|")]
    start = next(k for k, row in enumerate(rows) if row[:2] == ["", "limn"])
    claimed, refused, shown, name = [], [], {}, None
    for row in rows[start + 2:]:
        if len(row) != len(rows[start]):
            break
        (claimed if row[1] == "yes" else refused).append(row[0])
    with open(os.path.join(source, "tests", "install", "features.txt")) as file:
        for line in file.read().splitlines():
            if line.startswith("    "):
                shown[name].append(line.strip())
            elif line and not line.startswith("#"):
                name = line
                shown[name] = []
    failures.extend(f"README claims \"{row}\", and features.txt does not show it"
                    for row in claimed if not shown.get(row))
    failures.extend(f"features.txt has \"{row}\", which README does not claim" for row in shown if row not in claimed)
    for row, commands in shown.items():
        for command in commands:
            run(command, f"features.txt: {row}")
    return len(claimed)


environment()
texts = {path: document(path) for path in documents}
shown = features(texts["README.md"]) if "README.md" in texts else 0
for failure in failures:
    print(failure, file=sys.stderr)
print(f"{ran} commands ran, {shown} features are shown, {len(failures)} failures")
sys.exit(bool(failures))
