"""What looks at training while it runs: what each layer does, what is wrong, and how noisy gradients are."""

from ravine.instruments.findings import Finding as Finding
from ravine.instruments.monitor import Monitor as Monitor
from ravine.instruments.noise_scale import NoiseScale as NoiseScale
from ravine.instruments.noisy_quadratic import critical_batch as critical_batch
