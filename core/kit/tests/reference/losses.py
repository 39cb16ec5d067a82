"""Losses of two fixed clouds by PyTorch; the numbers stand in ../losses.rs. Needs torch."""
import torch, torch.nn.functional as F

n, k, t, bias = 7, 5, 0.2, -1.5
i, j = torch.meshgrid(torch.arange(n, dtype=torch.float64), torch.arange(k, dtype=torch.float64), indexing="ij")
a = F.normalize(torch.sin(i * (2 * j + 1) + 0.3), dim=1)
b = F.normalize(torch.sin(i * (2 * j + 1) + 0.9) + 0.2 * torch.cos(i + j), dim=1)
s, own = a @ b.T / t, torch.arange(n)
print("infonce", float(0.5 * (F.cross_entropy(s, own) + F.cross_entropy(s.T, own))))
print("siglip", float(-F.logsigmoid((2 * torch.eye(n) - 1) * (s + bias)).sum() / n))
print("squared", float(((a - b) ** 2).sum(1).mean()))
