/* chiasm_plugin.h: the C interface for Chiasm plugins, version 1.
 *
 * A plugin in C is a shared library with two things:
 *
 *   1. A manifest, made with CHIASM_MANIFEST: JSON text in the section `.chiasm` of the library, which the
 *      host reads without running code.
 *   2. A table of functions, a `struct chiasm_plugin`, under the name that the manifest gives as `root`.
 *
 * Rules that hold for every function:
 *
 *   - Texts are UTF-8 with a length, not terminated by zero. Structured values are JSON.
 *   - Everything that the host passes is borrowed: it may only be read, and only until the function returns.
 *   - Results are given to the host through `reply` before the function returns. The host copies them, so the
 *     plugin frees its own memory as it likes.
 *   - A function returns CHIASM_OK or an error code, with a message given to reply->error. The message says
 *     what was expected, what was got and what to do.
 *   - Functions may be called from several threads at once.
 *   - Nothing may unwind or jump out of a function.
 *
 * Later versions of this header only add members at the end of structures; `version` and `size` say which
 * exist.
 */
#ifndef CHIASM_PLUGIN_H
#define CHIASM_PLUGIN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CHIASM_C_INTERFACE 1u

/* Error codes. */
enum {
    CHIASM_OK = 0,
    CHIASM_INVALID = 1,     /* the data, parameters or files cannot be used */
    CHIASM_CANCELLED = 2,   /* the host asked to stop, and the plugin did */
    CHIASM_UNSUPPORTED = 4, /* the request is valid but not supported */
    CHIASM_HOST = 6,        /* a service of the host failed */
    CHIASM_OTHER = 100
};

/* Kinds of components, as bits. */
enum { CHIASM_ADAPTER = 1, CHIASM_ALIGNER = 2, CHIASM_FUSION = 4 };

/* Questions of `ask`. The answer is JSON, given to reply->text. */
enum {
    CHIASM_ADAPTER_TAKES = 1,      /* "path", "text" or "row" */
    CHIASM_ALIGNER_PARAMETERS = 2, /* [{"name", "type", "range": {"least": 1}, "default", "doc"}, ...] */
    CHIASM_FUSION_PARAMETERS = 3,  /* the same */
    CHIASM_ALIGNER_TAKES = 4,      /* {"least": 2, "most": null} with the parameters of `argument` */
    CHIASM_FUSION_NEEDS = 5        /* {"tokens": false, "tasks": []} with the parameters of `argument` */
};

/* Kinds of items of `prepare`. */
enum {
    CHIASM_ITEM_PATH = 1, /* `bytes` is the path of a file */
    CHIASM_ITEM_TEXT = 2, /* `bytes` is a text */
    CHIASM_ITEM_ROW = 3   /* `row` is a row number */
};

/* A borrowed text. */
struct chiasm_text {
    const char *data;
    uint64_t length;
};

/* A borrowed dense tensor in row-major order. Element types are those of DLPack: code 0 signed integer,
 * 1 unsigned integer, 2 float, 4 bfloat, 6 bool. */
struct chiasm_tensor {
    struct chiasm_text name;
    const void *data;
    uint64_t bytes;
    uint8_t code;
    uint8_t bits;
    uint16_t lanes; /* 1 */
    uint32_t rank;  /* at most 8 */
    const int64_t *shape;
};

/* Takes results. Every function copies what it gets. */
struct chiasm_reply {
    void *host;
    /* The message of an error. */
    void (*error)(void *host, struct chiasm_text message);
    /* A text: JSON of an answer, or of the report of a fit. */
    void (*text)(void *host, struct chiasm_text text);
    /* Named bytes: an ONNX graph. */
    void (*bytes)(void *host, struct chiasm_text name, const void *data, uint64_t length);
    /* A tensor, in the order of `inputs`. */
    void (*tensor)(void *host, const struct chiasm_tensor *tensor);
};

/* Services of the host during `open` and `fit`. Any thread may use them until the function returns. */
struct chiasm_services {
    void *host;
    /* Logs a message at level 1 (error), 2 (warning), 3 (information) or 4 (debugging). */
    void (*log)(void *host, uint8_t level, struct chiasm_text message);
    /* Reports progress. 0 asks the plugin to stop soon and return CHIASM_CANCELLED. */
    int32_t (*progress)(void *host, uint64_t done, uint64_t total);
    /* The random seed. */
    uint64_t (*seed)(void *host);
    /* The number of threads that the plugin may use. */
    uint64_t (*threads)(void *host);
};

/* The table of a plugin. Functions for kinds that it does not have are null. */
struct chiasm_plugin {
    uint32_t version; /* CHIASM_C_INTERFACE */
    uint32_t size;    /* sizeof(struct chiasm_plugin) */
    uint32_t kinds;   /* a sum of CHIASM_ADAPTER, CHIASM_ALIGNER, CHIASM_FUSION */
    uint32_t unused;

    /* Answers a question about the component `id`. */
    int32_t (*ask)(uint32_t question, struct chiasm_text id, struct chiasm_text argument,
                   const struct chiasm_reply *reply);

    /* Fits an aligner (CHIASM_ALIGNER) or a fusion (CHIASM_FUSION).
     *
     * `context` is JSON. An aligner gets {"modalities": [{"name", "dim", "blocks"}], "anchor"}, and the data
     * `<modality>.pooled` f32 [items, dim] and `<modality>.row` i64 [items]: items of different modalities
     * with the same row are pairs. It gives the graphs `map.<modality>`, from `x` f32 [batch, dim] to `z` f32
     * [batch, k], and the text {"parameters": {...}, "notes": {...}}.
     *
     * A fusion gets {"modalities": [{"name", "pooled_dim", "token_dim"}], "task"} and gives one graph,
     * `fused`, from `<modality>.pooled` to `fused` f32 [batch, width], and the text {"notes": {...}}. */
    int32_t (*fit)(uint32_t kind, struct chiasm_text id, const struct chiasm_tensor *data, uint64_t count,
                   struct chiasm_text parameters, struct chiasm_text context,
                   const struct chiasm_services *services, const struct chiasm_reply *reply);

    /* Drafts a card for a model, as JSON, or gives the text `null`. */
    int32_t (*draft)(struct chiasm_text id, struct chiasm_text signature, struct chiasm_text directory,
                     const struct chiasm_reply *reply);
    /* Opens an adapter for an encoder, whose specification is JSON. `*adapter` must not be null. */
    int32_t (*open)(struct chiasm_text id, struct chiasm_text spec, const struct chiasm_services *services,
                    void **adapter, const struct chiasm_reply *reply);
    /* Gives the tensors of `prepare` as JSON: [{"name", "dtype", "dims", "pad"}, ...]. */
    int32_t (*inputs)(void *adapter, const struct chiasm_reply *reply);
    /* Prepares one item: one tensor for each input, without a batch axis. */
    int32_t (*prepare)(void *adapter, uint32_t kind, struct chiasm_text bytes, uint64_t row,
                       const struct chiasm_reply *reply);
    /* The number of rows, or -1. */
    int64_t (*rows)(void *adapter);
    /* Gives the graph after the encoder, named `tail`. */
    int32_t (*tail)(void *adapter, const struct chiasm_reply *reply);
    /* Closes an adapter. */
    void (*close)(void *adapter);
};

/* Writes the manifest. `json` is a string literal such as
 *
 *   "{\"id\":\"mine\",\"version\":\"1.0.0\",\"abi\":\"2.1.0\",\"licence\":\"MIT\",\"panic\":\"unwind\","
 *   "\"arch\":\"x86_64\",\"os\":\"linux\",\"root\":\"chiasm_root_mine\",\"interface\":\"c\","
 *   "\"provides\":[{\"kind\":\"aligner\",\"id\":\"mine\",\"doc\":\"What it does.\"}]}"
 */
#define CHIASM_MANIFEST(json)                                                                           \
    __attribute__((used, section(".chiasm"), aligned(1))) static const struct __attribute__((packed)) { \
        char magic[8];                                                                                  \
        uint64_t length;                                                                                \
        char text[sizeof(json) - 1];                                                                    \
    } chiasm_manifest_record = {{'C', 'H', 'I', 'A', 'S', 'M', 0, 1}, sizeof(json) - 1, json}

#ifdef __cplusplus
}
#endif

#endif
