"""Makes the test recordings, and stores what soundfile, librosa, torchaudio and NumPy make of them.

    python make.py    # needs numpy, soundfile, librosa and torchaudio; rewrites recordings/, cases.json and golden.bin here

Everything is seeded. golden.bin holds the expected values of all cases one after the other as 32-bit floats; cases.json says
which values belong to which case, and with which keys of a card the adapter has to give them. The libraries compute in
double precision here, but for their mel filters, which are in single precision.
"""

import json
import pathlib

import librosa
import numpy as np
import soundfile
import torch
import torchaudio

HERE = pathlib.Path(__file__).parent
RECORDINGS = HERE / "recordings"
golden, cases = bytearray(), []


def signal(rate, seconds, channels, seed):
    """Rising tones with harmonics, an envelope and a little noise; the channels differ."""
    time = np.arange(int(rate * seconds)) / rate
    random = np.random.default_rng(seed)
    out = np.zeros((len(time), channels))
    for channel in range(channels):
        pitch = 180 + 60 * channel + 400 * time
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        tone = sum(np.sin(k * phase) / k for k in range(1, 8))
        out[:, channel] = 0.2 * tone * (0.3 + np.sin(np.pi * time / seconds)) + 0.003 * random.standard_normal(len(time))
    return out


def store(kind, values, **more):
    values = np.asarray(values)
    cases.append({"kind": kind, "offset": len(golden), "shape": list(values.shape), **more})
    golden.extend(values.astype("<f4").tobytes())


def recordings():
    """Files of every format, and the mean of the channels that soundfile reads."""
    RECORDINGS.mkdir(exist_ok=True)
    for name, rate, channels, options in [
        ("u8.wav", 8000, 1, {"subtype": "PCM_U8"}),
        ("16.wav", 44100, 2, {"subtype": "PCM_16"}),
        ("24.wav", 22050, 1, {"subtype": "PCM_24"}),
        ("32.wav", 8000, 2, {"subtype": "PCM_32"}),
        ("float.wav", 16000, 2, {"subtype": "FLOAT"}),
        ("mono.flac", 16000, 1, {"subtype": "PCM_16"}),
        ("stereo.flac", 48000, 2, {"subtype": "PCM_24"}),
        ("mono.ogg", 16000, 1, {"subtype": "VORBIS"}),
        ("stereo.ogg", 44100, 2, {"subtype": "VORBIS"}),
        ("mono.mp3", 16000, 1, {"subtype": "MPEG_LAYER_III"}),
        ("stereo.mp3", 44100, 2, {"subtype": "MPEG_LAYER_III"}),
    ]:
        path = RECORDINGS / name
        soundfile.write(path, signal(rate, 0.12, channels, len(name)), rate, **options)
        samples, read = soundfile.read(path, dtype="float32", always_2d=True)
        assert read == rate
        store("decode", samples.mean(axis=1), file=name, rate=rate)


def resampling():
    for rate, to in [(48000, 16000), (44100, 16000), (8000, 16000), (11025, 16000)]:
        # Below 0.9 of the lower Nyquist frequency, where resamplers agree.
        top = 0.9 * min(rate, to) / 2
        time = np.arange(rate // 5) / rate
        phase = 2 * np.pi * np.cumsum(100 + (top - 100) * time / time[-1]) / rate
        samples = (0.5 * np.sin(phase) * np.hanning(len(time))).astype(np.float32)
        store("samples", samples, name=f"sweep {rate}")
        store("resample", librosa.resample(samples, orig_sr=rate, target_sr=to), name=f"sweep {rate}", rate=rate, to=to)


def spectrograms():
    rate = 16000
    samples = signal(rate, 0.3, 1, 5)[:, 0].astype(np.float32)
    store("samples", samples, name="speech")
    y = samples.astype(np.float64)
    both = {"rate": rate, "features": "log-mel", "layout": "tm"}

    def case(name, values, **keys):
        store("log-mel", values, name=name, samples="speech", card={**both, **keys})

    def mel(**options):
        return librosa.feature.melspectrogram(y=y, sr=rate, **options)

    case(
        "librosa's defaults, in decibels below 80",
        librosa.power_to_db(mel(n_fft=512, hop_length=160, n_mels=40), amin=1e-10, top_db=30).T,
        frame=512, hop=160, mels=40, mel_scale="slaney", mel_norm="slaney", centre="zeros",
        log="db", log_floor=1e-10, range=30.0,
    )
    case(
        "librosa, a window shorter than the transform, mirrored, magnitude, HTK",
        librosa.amplitude_to_db(
            mel(n_fft=512, win_length=400, hop_length=128, n_mels=64, power=1.0, htk=True, norm=None,
                pad_mode="reflect", fmin=60, fmax=7000),
            amin=1e-5, top_db=None,
        ).T,
        frame=400, hop=128, fft=512, window_place="middle", mels=64, f_min=60.0, f_max=7000.0, mel_scale="htk",
        mel_norm="none", centre="reflect", spectrum="magnitude", log="db", log_floor=1e-5,
    )
    case(
        "librosa, not centred, natural logarithm",
        np.log(mel(n_fft=1024, win_length=400, hop_length=160, n_mels=32, center=False, htk=True, norm="slaney") + 1e-6).T,
        frame=400, hop=160, fft=1024, window_place="middle", mels=32, mel_scale="htk", mel_norm="slaney", log_offset=1e-6,
    )
    whisper = np.log10(np.maximum(mel(n_fft=400, hop_length=160, n_mels=80, pad_mode="reflect"), 1e-10))
    case(
        "Whisper's: (max(x, largest - 8) + 4) / 4",
        ((np.maximum(whisper, whisper.max() - 8) + 4) / 4).T,
        frame=400, hop=160, fft=400, mels=80, mel_scale="slaney", mel_norm="slaney", centre="reflect", log="log10",
        log_floor=1e-10, range=8.0, mean=-4.0, std=4.0,
    )
    wave = torch.from_numpy(y)
    torch_mel = torchaudio.transforms.MelSpectrogram(rate, n_fft=400, hop_length=160, n_mels=64).double()
    case(
        "torchaudio's MelSpectrogram and AmplitudeToDB",
        torchaudio.transforms.AmplitudeToDB("power", top_db=80.0)(torch_mel(wave)).T.numpy(),
        frame=400, hop=160, fft=400, mels=64, centre="reflect", log="db", log_floor=1e-10, range=80.0,
    )
    torch_mel = torchaudio.transforms.MelSpectrogram(
        rate, n_fft=512, win_length=320, hop_length=200, n_mels=48, f_min=30.0, power=1.0, norm="slaney", mel_scale="slaney",
        center=False, window_fn=lambda n: torch.hamming_window(n, periodic=False),
    ).double()
    case(
        "torchaudio, Slaney, a symmetric Hamming window, magnitude, standardised by bands",
        standardised(torch.log(torch_mel(wave) + 1e-4).T.numpy()),
        frame=320, hop=200, fft=512, window="hamming-symmetric", window_place="middle", mels=48, f_min=30.0,
        mel_scale="slaney", mel_norm="slaney", spectrum="magnitude", log_offset=1e-4, standardise="bands",
    )
    kaldi = torchaudio.compliance.kaldi.fbank(
        wave[None] * 32768, sample_frequency=rate, num_mel_bins=80, dither=0.0, energy_floor=0.0, high_freq=-400.0,
    )
    case(
        "Kaldi's filter bank (torchaudio.compliance)",
        kaldi.numpy(),
        scale=32768.0, frame=400, hop=160, window="povey", remove_mean=True, preemphasis=0.97, mels=80, f_min=20.0,
        f_max=7600.0, mel_sides="mel", log_floor=1.1920928955078125e-07,
    )
    case(
        "YAMNet's (tf.signal), in NumPy",
        yamnet(y, rate),
        frame=400, hop=160, fft=512, mels=64, f_min=125.0, f_max=7500.0, mel_sides="mel", spectrum="magnitude",
        log_offset=1e-3,
    )


def standardised(values):
    return (values - values.mean(0)) / np.sqrt(values.var(0) + 1e-7)


def yamnet(y, rate):
    """log(magnitude @ linear_to_mel_weight_matrix + 0.001), from TensorFlow's documentation of both operations."""
    frames = np.lib.stride_tricks.sliding_window_view(y, 400)[::160] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400))
    mels = lambda hertz: 1127 * np.log1p(hertz / 700)
    edges = np.linspace(mels(125), mels(7500), 66)
    bins = mels(np.arange(257) * rate / 512)[:, None]
    lower = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    upper = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.log(np.abs(np.fft.rfft(frames, 512)) @ np.maximum(0, np.minimum(lower, upper)) + 1e-3)


recordings()
resampling()
spectrograms()
versions = {"librosa": librosa.__version__, "torchaudio": torchaudio.__version__, "soundfile": soundfile.__version__}
(HERE / "golden.bin").write_bytes(golden)
lines = [json.dumps(versions)] + [json.dumps(case) for case in cases]
(HERE / "cases.json").write_text("[\n  " + ",\n  ".join(lines) + "\n]\n")
