"""Small tables: limn's NTK beside scikit-learn on the same splits.

    tables.py LIMN [--data FOLDER] [--splits 4] [--rows 500] [--short]

FOLDER holds Debian's r-cran-ddalpha and weka, unpacked; scikit-learn's own tables need no folder. Every method sees
the same training rows and chooses what it has to choose by 5 folds of them: limn depth, biases or none, and the ridge;
the SVM C and gamma; logistic regression C; a random forest has nothing to choose. Inputs are scaled by the rows that
train.
"""
import argparse
import gzip
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings

for threads in "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS":
    os.environ.setdefault(threads, "1")

import numpy as np
from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

MIN_CLASS = 8  # rows of the rarest class: 5 folds of 3/4 of them


# ---- tables ----
def words_of(line):
    return [a or b or c for a, b, c in re.findall(r"\"([^\"]*)\"|'([^']*)'|([^\s,]+)", line)]


def as_classes(labels):
    names = sorted(set(labels))
    return np.array([names.index(label) for label in labels], dtype=np.int64)


def read_ddalpha(path):
    """A header, then numbers and the class, with blanks between them."""
    with gzip.open(path, "rt", encoding="latin-1") as file:
        rows = [words_of(line) for line in file.read().splitlines()[1:] if line.strip()]
    return np.array([[float(x) for x in row[:-1]] for row in rows]), as_classes([row[-1] for row in rows])


def read_arff(path):
    """Numbers, and nominal attributes as one column a value; the last one is the class. None: values are missing."""
    attributes, rows, inside = [], [], False
    with open(path, encoding="latin-1") as file:
        for line in file:
            line = line.strip()
            if not line or line.startswith("%"):
                continue
            if inside:
                rows.append(words_of(line))
            elif line.lower().startswith("@attribute"):
                values = re.search(r"{(.*)}", line)
                attributes.append(words_of(values.group(1)) if values else None)
            inside = inside or line.lower().startswith("@data")
    if any("?" in row for row in rows):
        return None
    columns = []
    for j, values in enumerate(attributes[:-1]):
        cells = [row[j] for row in rows]
        columns += [[float(c == v) for c in cells] for v in values] if values else [[float(c) for c in cells]]
    return np.array(columns).T, as_classes([row[-1] for row in rows])


def find_tables(folder, most, short):
    """(name, x, y), in the order of the sources."""
    for name in ("iris", "wine") if short else ("iris", "wine", "breast_cancer"):
        data = getattr(datasets, "load_" + name)()
        if len(data.target) <= most:
            yield "sklearn " + name, data.data, data.target
    if not folder:
        return
    for source, end, read in ("ddalpha", ".txt.gz", read_ddalpha), ("weka", ".arff", read_arff):
        found = sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names
                       if name.endswith(end) and "/" + source + "/" in at + "/")
        for path in found:
            name = os.path.basename(path)[:-len(end)]
            # iris again, a target that is a number, and text
            if source == "weka" and re.match(r"iris|cpu|Reuters|segment-test", name):
                continue
            table = read(path)
            if table is None:
                print("left out, values are missing: %s %s" % (source, name), file=sys.stderr)
            elif len(table[1]) > most or np.bincount(table[1]).min() < MIN_CLASS:
                print("left out, too many rows or too few of a class: %s %s" % (source, name), file=sys.stderr)
            else:
                yield source + " " + name, table[0], table[1]


# ---- methods: the share of the test rows that are right ----
def by_limn(limn, short):
    def run(x, y, x2, y2, seed):
        with tempfile.TemporaryDirectory() as work:
            for name, array in (("x", x), ("y", y), ("x2", x2), ("y2", y2)):
                np.save(os.path.join(work, name + ".npy"), array)
            told = subprocess.run(
                [limn, "predict", "mlp", "--inputs", "x.npy", "--labels", "y.npy", "--inputs2", "x2.npy", "--labels2",
                 "y2.npy", "--scaling", "pixelwise", "--centre", "--grid", "sigma_b=0,1", "--grid",
                 "depth=" + ("1,3" if short else "1,2,3,4,5"), "--ridges", "1e-6:1e2", "--folds", "5", "--seed",
                 str(seed), "--json"],
                cwd=work, capture_output=True, text=True)
        if told.returncode:
            sys.exit("tables.py: %s" % told.stderr)
        return json.loads(told.stdout)["times"][0]["test"]["accuracy"]
    return run


def by_sklearn(model, grid):
    def run(x, y, x2, y2, seed):
        chosen = make_pipeline(StandardScaler(), model(seed))
        if grid:
            names = {chosen.steps[1][0] + "__" + key: values for key, values in grid.items()}
            chosen = GridSearchCV(chosen, names, cv=StratifiedKFold(5, shuffle=True, random_state=seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return chosen.fit(x, y).score(x2, y2)
    return run


def methods(limn, short):
    wide = {"C": [1, 10], "gamma": [0.01, 0.1]} if short else \
        {"C": [0.1, 1, 10, 100], "gamma": [0.001, 0.01, 0.03, 0.1, 0.3, 1]}
    return {
        "NTK (limn)": by_limn(limn, short),
        "RBF SVM": by_sklearn(lambda seed: SVC(), wide),
        "forest": by_sklearn(lambda seed: RandomForestClassifier(50 if short else 200, random_state=seed), None),
        "logistic": by_sklearn(lambda seed: LogisticRegression(max_iter=2000),
                               {"C": [0.1, 10] if short else [0.01, 0.1, 1, 10, 100]}),
    }


def seconds():
    """Of the processor, by this process and those that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


# ---- the table of tables ----
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("limn")
    parser.add_argument("--data", help="folder of unpacked packages")
    parser.add_argument("--splits", type=int, default=4, help="random ones, a quarter of the rows to test (4)")
    parser.add_argument("--rows", type=int, default=500, help="larger tables are left out (500)")
    parser.add_argument("--short", action="store_true", help="two tables, small grids: a test")
    given = parser.parse_args()
    if given.splits < 1:
        parser.error("--splits is at least 1")
    limn = os.path.abspath(given.limn)
    tried = methods(limn, given.short)
    names, all_means, spent = list(tried), [], dict.fromkeys(tried, 0.0)
    print("%-40s%6s%5s%4s" % ("table", "rows", "in", "k") + "".join("%12s" % name for name in names), flush=True)
    for table, x, y in find_tables(given.data, given.rows, given.short):
        right = {name: [] for name in names}
        for seed in range(given.splits):
            split = StratifiedShuffleSplit(1, test_size=0.25, random_state=seed)
            train, test = next(split.split(x, y))
            for name in names:
                before = seconds()
                right[name].append(tried[name](x[train], y[train], x[test], y[test], seed))
                spent[name] += seconds() - before
        means = [100 * np.mean(right[name]) for name in names]
        all_means.append(means)
        print("%-40s%6d%5d%4d" % (table, *x.shape, y.max() + 1) + "".join("%12.2f" % mean for mean in means),
              flush=True)
    if not all_means:
        sys.exit("tables.py: no table of at most %d rows is there" % given.rows)
    means = np.array(all_means)
    best = means >= means.max(axis=1, keepdims=True) - 1e-9
    ranks = (means[:, None, :] > means[:, :, None] + 1e-9).sum(axis=2) + \
            ((abs(means[:, None, :] - means[:, :, None]) <= 1e-9).sum(axis=2) + 1) / 2
    wins = (best / best.sum(axis=1)[:, None]).sum(axis=0)
    for what, row, form in (("mean accuracy, %", means.mean(axis=0), "%12.2f"),
                            ("wins of %d tables, ties shared" % len(means), wins, "%12.1f"),
                            ("mean rank", ranks.mean(axis=0), "%12.2f"),
                            ("processor time, s", [spent[name] for name in names], "%12.1f")):
        print("%-55s" % what + "".join(form % value for value in row))


main()
