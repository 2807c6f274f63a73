"""Recompute the truth probe of a finished audit by other means, and print the audit's figures beside the new ones.

    python tools/recompute.py RUN FOLDER MODEL

RUN is a run folder, FOLDER holds the CSV files of the data sets that its config declares. Nothing of the auditor is
imported: transformers with output_hidden_states, float32, no padding; scikit-learn; numpy. The run folder gives what
was declared, which layer was chosen and the figures. The split is dealt again by the rule in docs/methods.md.
"""

import csv
import hashlib
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel, AutoTokenizer

TOLERANCE, SHUFFLES = 0.02, 200


class Data:
    """A declared data set: ids, texts, labels and groups, each [n], and a mask [n] for each split."""

    def __init__(self, name, files, folder, seed):
        rows = []
        for i, file in enumerate(files, start=1):
            columns, positive = file["columns"], {str(value) for value in file["positive"]}
            with (folder / file["path"]).open(newline="", encoding="utf-8") as lines:
                for number, row in enumerate(csv.DictReader(lines), start=1):
                    own = f"{i}/{number}" if len(files) > 1 else str(number)
                    group = row[columns["group"]] if "group" in columns else own
                    rows.append((own, row[columns["completion"]], row[columns["label"]].strip() in positive, group))
        self.name = name
        self.ids, self.texts, self.labels, self.groups = map(np.array, zip(*rows, strict=True))
        ordered = sorted(set(self.groups.tolist()), key=lambda group: _rank(seed, name, group))
        chosen, threshold = int(0.4 * len(ordered) + 0.5), int(0.2 * len(ordered) + 0.5)
        ends = (chosen - int(chosen / 5 + 0.5), chosen, chosen + threshold, len(ordered))
        parts = zip((0, *ends), ends, strict=False)
        self.fit, self.validation, self.threshold, self.evaluation = (
            np.isin(self.groups, ordered[start:end]) for start, end in parts
        )
        self.selection = self.fit | self.validation


def _rank(*key):
    return hashlib.sha256(json.dumps(key, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def activations(model, tokenizer, texts):
    """What each block writes at a text's last token [n, n_layers, d_model]; only texts of one length share a batch.

    The last entry of hidden_states is what comes behind the final norm, so the last block is read by a hook.
    """
    lists = (one for one in model.modules() if isinstance(one, torch.nn.ModuleList))
    last_block = next(one for one in lists if len(one) == model.config.num_hidden_layers)[-1]
    last = []
    hook = last_block.register_forward_hook(
        lambda _module, _given, out: last.append(out if torch.is_tensor(out) else out[0])
    )
    ids = [tuple(tokenizer(text).input_ids) for text in texts]
    found = {}
    for length in set(map(len, ids)):
        same = [one for one in dict.fromkeys(ids) if len(one) == length]
        for i in range(0, len(same), 32):
            with torch.no_grad():
                states = model(torch.tensor(same[i : i + 32]), output_hidden_states=True).hidden_states
            read = torch.stack([state[:, -1] for state in (*states[1:-1], last.pop())], 1)
            found |= zip(same[i : i + 32], read.numpy(), strict=True)
    hook.remove()
    return np.array([found[one] for one in ids], dtype=np.float64)


def fitted(recipe, x, y):
    """A function that scores activations [n, d_model]: by scikit-learn, or by the formula in its paper."""
    if recipe == "difference_in_means":
        return lambda new: new @ (x[y].mean(0) - x[~y].mean(0))
    if recipe == "mass_mean":  # the within-class covariance; with the total one the direction is the same
        z = StandardScaler().fit(x)
        a, b = z.transform(x[y]), z.transform(x[~y])
        within = (len(a) * np.cov(a.T, bias=True) + len(b) * np.cov(b.T, bias=True)) / len(x)
        weights = np.linalg.solve(0.7 * within + 0.3 * np.eye(len(within)), a.mean(0) - b.mean(0))
        return lambda new: z.transform(new) @ weights
    if recipe not in ("logistic", "lda"):
        raise ValueError(f"{recipe} is not recomputed; difference_in_means, mass_mean, logistic and lda are")
    if recipe == "logistic":
        kind = LogisticRegression(C=0.1, max_iter=5000)
    else:  # one share of shrinkage for the pooled rows, where scikit-learn's "auto" takes one for each class
        z = StandardScaler().fit_transform(x)
        z[y], z[~y] = z[y] - z[y].mean(0), z[~y] - z[~y].mean(0)
        kind = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=ledoit_wolf_shrinkage(z, assume_centered=True))
    return make_pipeline(StandardScaler(), kind).fit(x, y).decision_function


def shuffled(data, rng):
    """The labels of the selection split, shuffled within each group; over all of it where a group holds one class."""
    y, groups = data.labels[data.selection].copy(), data.groups[data.selection]
    each = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    for rows in each if all(0 < y[rows].mean() < 1 for rows in each) else [np.arange(len(y))]:
        y[rows] = rng.permutation(y[rows])
    return y


def recomputed(audit, nulls, sets, read):
    """(what, the audit's figure, ours) for every figure; `read` gives the activations of a data set."""
    (result,) = (found for found in audit["results"] if found["probe"] == "truth_probe")
    params = audit["config"]["probes"]["truth_probe"]["params"]
    data, fpr = sets[params["fit_on"]], params["threshold_fpr"]
    x, y, held = read(data.name), data.labels, data.evaluation
    for one in result["measurements"]:
        if one["name"] == "validation_auroc":
            recipe, layer = one["at"]["recipe"], one["at"]["layer"]
            score = fitted(recipe, x[data.fit, layer], y[data.fit])(x[data.validation, layer])
            auroc = roc_auc_score(y[data.validation], score)
            yield f"{recipe}, layer {layer}, validation", one["estimate"]["value"], auroc
    words = make_pipeline(CountVectorizer(ngram_range=(1, 2), token_pattern=r"\b\w+\b"), LogisticRegression())
    words.fit(data.texts[data.selection], y[data.selection])
    alone = roc_auc_score(y[held], words.decision_function(data.texts[held]))
    for judged in result["qualifications"]:
        recipe, layer = judged["instrument"], judged["at"]["layer"]
        check = {one["name"]: one["estimate"]["value"] for one in judged["checks"] if one["estimate"]}
        score = fitted(recipe, x[data.selection, layer], y[data.selection])(x[:, layer])
        auroc = check["held-out AUROC"]
        yield f"{recipe}, layer {layer}, held out", auroc, roc_auc_score(y[held], score[held])
        yield "words alone, held out", auroc - check["gain over words"], alone
        if (recall := check[f"recall at {fpr:.0%} FPR"]) is not None:
            negatives = np.sort(score[data.threshold & ~y])[::-1]
            yield (
                f"{recipe}, flagged at {fpr:.0%}",
                recall,
                np.mean(score[held & y] > negatives[int(fpr * len(negatives))]),
            )
    recipe = result["facts"]["truth: recipe that is read"]
    layer = result["facts"][f"truth: layer chosen for {recipe}"]
    rng, null = np.random.default_rng(1), []
    for _ in range(SHUFFLES):
        drawn = fitted(recipe, x[data.selection, layer], shuffled(data, rng))
        null.append(roc_auc_score(y[held], drawn(x[held, layer])))
    stored = nulls[f"truth_probe/{data.name}/shuffled labels/{recipe}"]
    yield f"{recipe}, labels shuffled, mean", stored.mean(), np.mean(null)
    (matrix,) = (chart for chart in result["charts"] if "cells" in chart)
    for row, cells in zip(matrix["rows"], matrix["cells"], strict=True):
        for column, cell in zip(matrix["columns"], cells, strict=True):
            if row in sets and column in sets:
                fit, new = sets[row], sets[column]
                unmet = ~np.isin(new.texts, fit.texts[fit.selection])
                unmet &= ~np.isin(new.groups, fit.groups[fit.selection & (fit.groups != fit.ids)])
                score = fitted(recipe, read(row)[fit.selection, layer], fit.labels[fit.selection])
                chosen = new.evaluation & unmet
                auroc = roc_auc_score(new.labels[chosen], score(read(column)[chosen, layer]))
                yield f"{recipe}, fitted on {row}, tried on {column}", cell["value"], auroc


def require_same_items(items, sets):
    """Raise ValueError where an item on record has another text, label or split than the file and the rule give."""
    for item in map(json.loads, items.read_text(encoding="utf-8").splitlines()):
        if data := sets.get(item["dataset"]):
            (i,) = np.flatnonzero(data.ids == item["id"])
            same = hashlib.sha256(data.texts[i].encode()).hexdigest() == item["text_sha256"]
            if not (same and data.labels[i] == item["label"] and getattr(data, item["split"])[i]):
                raise ValueError(f"{item['dataset']} {item['id']}: another text, label or split than recomputed")


def main(run, folder, model):
    """Compare; the exit code is 1 where a figure lies further off than TOLERANCE."""
    audit = json.loads((Path(run) / "audit.json").read_text(encoding="utf-8"))
    seed, declared = audit["config"]["seed"], audit["config"]["datasets"]
    sets = {name: Data(name, one["files"], Path(folder), seed) for name, one in declared.items()}
    require_same_items(Path(run) / "items/truth_probe.jsonl", sets)
    tokenizer, loaded = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model, dtype=torch.float32)
    read = cache(lambda name: activations(loaded.eval(), tokenizer, sets[name].texts.tolist()))
    off = []
    for what, told, ours in recomputed(audit, load_file(Path(run) / "draws.safetensors"), sets, read):
        off.append(abs(ours - told))
        sys.stdout.write(f"{what:70} {told:.3f}  {ours:.3f}  {ours - told:+.3f}\n")
    sys.stdout.write(f"furthest off: {max(off):.3f}\n")
    return int(not all(distance <= TOLERANCE for distance in off))  # a figure that is not a number is off, too


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
