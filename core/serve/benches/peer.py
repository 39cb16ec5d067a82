"""The peer of the benchmark `load`: FastAPI and onnxruntime, with the batching that they do not have.

    python peer.py EXPORT PORT [THREADS]

EXPORT is the folder of `chiasm export RUN --layout towers`, whose text tower is served at `/v1/embeddings`. It
needs fastapi, uvicorn[standard], orjson, onnxruntime, tokenizers and numpy. As in `chiasm serve`, a request waits
in a queue, a free worker takes what is there, up to 64 texts, and every worker has a session with one thread, in
which onnxruntime releases the interpreter. Texts of one batch are sorted by nothing: all are of about one length.
"""

import asyncio
import base64
import concurrent.futures
import pathlib
import sys

import numpy as np
import onnxruntime as ort
import orjson
import tokenizers
import uvicorn
from fastapi import FastAPI, Request, Response

MAX_BATCH = 64
export, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
threads = int(sys.argv[3]) if len(sys.argv) > 3 else 2

tokenizer = tokenizers.Tokenizer.from_file(str(next(export.glob("preprocessing/text/*/tokenizer.json"))))
tokenizer.enable_padding()
tokenizer.enable_truncation(int(sys.argv[4]) if len(sys.argv) > 4 else 64)


def session():
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(str(next(export.glob("*text*.onnx"))), options, providers=["CPUExecutionProvider"])


sessions = [session() for _ in range(threads)]
names = [port.name for port in sessions[0].get_inputs()]
pool = concurrent.futures.ThreadPoolExecutor(threads)
app = FastAPI()
queue: asyncio.Queue


def embed(worker, texts):
    encoded = tokenizer.encode_batch_fast(texts)
    columns = {
        "input_ids": [one.ids for one in encoded],
        "attention_mask": [one.attention_mask for one in encoded],
        "token_type_ids": [one.type_ids for one in encoded],
    }
    feeds = {name: np.array(columns[name.split("/")[-1].split(".")[-1]], np.int64) for name in names}
    return sessions[worker].run(["text_embeds"], feeds)[0]


async def work(worker):
    loop = asyncio.get_running_loop()
    kept = None
    while True:
        batch = [kept or await queue.get()]
        kept, count = None, len(batch[0][0])
        while count < MAX_BATCH and not queue.empty():
            job = queue.get_nowait()
            if count + len(job[0]) > MAX_BATCH:
                kept = job
                break
            batch.append(job)
            count += len(job[0])
        texts = [text for job in batch for text in job[0]]
        vectors = await loop.run_in_executor(pool, embed, worker, texts)
        start = 0
        for texts, answer in batch:
            answer.set_result(vectors[start : start + len(texts)])
            start += len(texts)


@app.on_event("startup")
async def start():
    global queue
    queue = asyncio.Queue()
    app.state.workers = [asyncio.create_task(work(worker)) for worker in range(threads)]


@app.post("/v1/embeddings")
async def embeddings(request: Request):
    body = orjson.loads(await request.body())
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    loop = asyncio.get_running_loop()
    waiting = []
    for start in range(0, len(texts), MAX_BATCH):
        answer = loop.create_future()
        await queue.put((texts[start : start + MAX_BATCH], answer))
        waiting.append(answer)
    rows = [row for answer in waiting for row in await answer]
    data = [
        {"object": "embedding", "index": at, "embedding": base64.b64encode(row.tobytes()).decode()}
        for at, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    content = {"object": "list", "data": data, "model": body["model"], "usage": usage}
    return Response(orjson.dumps(content), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)
