"""Trains small encoders of all four modalities together, as an upper bound for maps between frozen encoders.

usage: joint.py FOLDER [EPOCHS]; FOLDER was made by `cargo run -p world --bin benchmark -- --raw --out FOLDER`.
Needs torch and Pillow. The picture and caption encoders have the shapes of the demo's frozen encoders
(models/demo_encoders); the sound features and the table have networks of two layers. The loss is InfoNCE over
all pairs of modalities. The epoch with the best validation rows is scored once on the test rows.
"""

import json
import sys
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

WIDTH, BATCH = 64, 256


class Picture(nn.Module):
    """[N,3,64,64] -> [N,WIDTH]."""

    def __init__(self):
        super().__init__()
        sizes = [(4, 2, 3, 24), (3, 2, 24, 48), (3, 1, 48, 48), (3, 2, 48, 96), (3, 1, 96, 96), (3, 1, 96, 96)]
        self.layers = nn.ModuleList(nn.Conv2d(i, o, k, s, (k - 1) // 2) for k, s, i, o in sizes)
        self.out = nn.Linear(96 * 64, WIDTH)

    def forward(self, x):
        for layer in self.layers:
            y = F.relu(layer(x))
            x = x + y if x.shape == y.shape else y
        return self.out(x.flatten(1))


class Caption(nn.Module):
    """[N,T] token numbers, 0 for padding -> [N,WIDTH]."""

    def __init__(self, words, length):
        super().__init__()
        self.words, self.places = nn.Embedding(words, 128, padding_idx=0), nn.Embedding(length, 128)
        layer = nn.TransformerEncoderLayer(128, 2, 320, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(128, WIDTH)

    def forward(self, ids):
        x = self.layers(self.words(ids) + self.places.weight, src_key_padding_mask=ids == 0)
        mask = (ids != 0).unsqueeze(2)
        return self.out((x * mask).sum(1) / mask.sum(1))


def network(columns):
    return nn.Sequential(nn.Linear(columns, 256), nn.GELU(), nn.Dropout(0.3), nn.Linear(256, WIDTH))


def read(folder):
    """The rows, and a tensor for each modality."""
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    pictures = np.stack([np.asarray(Image.open(folder / row["picture"]).convert("RGB")) for row in rows])
    words = sorted({word for row in rows for word in row["caption"].split()})
    number = {word: at + 1 for at, word in enumerate(words)}
    captions = [[number[word] for word in row["caption"].split()] for row in rows]
    length = max(map(len, captions))
    vectors = {name: np.load(folder / f"{name}.npy") for name in ("sound", "table")}
    vectors = {name: (x - x.mean(0)) / (x.std(0) + 1e-6) for name, x in vectors.items()}
    items = {
        "picture": torch.tensor(pictures).permute(0, 3, 1, 2).float() / 255,
        "caption": torch.tensor([ids + [0] * (length - len(ids)) for ids in captions]),
        "sound": torch.tensor(vectors["sound"][[row["sound_row"] for row in rows]]).float(),
        "table": torch.tensor(vectors["table"][[row["table"] for row in rows]]).float(),
    }
    encoders = nn.ModuleDict({
        "picture": Picture(),
        "caption": Caption(len(words) + 1, length),
        "sound": network(items["sound"].shape[1]),
        "table": network(items["table"].shape[1]),
    })
    return rows, items, encoders


def recalls(vectors):
    """recall@1, @5 and @10 in percent for every direction."""
    table = {}
    for query, target in permutations(vectors, 2):
        scores = vectors[query] @ vectors[target].T
        ranks = (scores > scores.diagonal()[:, None]).sum(1)
        table[f"{query} -> {target}"] = [100 * (ranks < k).float().mean().item() for k in (1, 5, 10)]
    return table


def main():
    torch.manual_seed(0)
    folder, epochs = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 60
    rows, items, encoders = read(folder)
    split = {name: [at for at, row in enumerate(rows) if row["split"] == name] for name in ("train", "validation", "test")}
    split["validation"] = split["validation"] or split["train"][-300:]

    def embed(places):
        encoders.eval()
        with torch.no_grad():
            return {name: F.normalize(net(items[name][places]), dim=1) for name, net in encoders.items()}

    log_scale = nn.Parameter(torch.tensor(2.7))
    optimizer = torch.optim.AdamW([*encoders.parameters(), log_scale], lr=1e-3, weight_decay=1e-2)
    best = (-1.0, None)
    for epoch in range(epochs):
        encoders.train()
        for places in torch.tensor(split["train"])[torch.randperm(len(split["train"]))].split(BATCH):
            vectors = {name: F.normalize(net(items[name][places]), dim=1) for name, net in encoders.items()}
            loss = 0
            for a, b in combinations(vectors.values(), 2):
                scores, right = log_scale.exp() * a @ b.T, torch.arange(len(a))
                loss = loss + F.cross_entropy(scores, right) + F.cross_entropy(scores.T, right)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        score = sum(map(sum, recalls(embed(split["validation"])).values()))
        print(f"epoch {epoch + 1}: validation rsum {score:.1f}", file=sys.stderr)
        if score > best[0]:
            best = (score, {name: value.clone() for name, value in encoders.state_dict().items()})
    encoders.load_state_dict(best[1])
    table = recalls(embed(split["test"]))
    for direction, (one, five, ten) in table.items():
        print(f"{direction:22} R@1 {one:5.1f}  R@5 {five:5.1f}  R@10 {ten:5.1f}")
    print(f"rsum {sum(map(sum, table.values())):.1f} of 3600 on {len(split['test'])} test rows")


main()
