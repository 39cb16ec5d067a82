/* An adapter in C for the tests: it represents a text by its number of bytes. Its faults have names. */
#include <chiasm_plugin.h>

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#define ARCH "x86_64"
#else
#define ARCH "aarch64"
#endif

CHIASM_MANIFEST("{\"id\":\"c-adapter\",\"version\":\"1.0.0\",\"abi\":\"2.1.0\",\"licence\":\"\","
                "\"panic\":\"unwind\",\"arch\":\"" ARCH "\",\"os\":\"linux\",\"interface\":\"c\","
                "\"root\":\"chiasm_root_c_adapter\",\"provides\":[{\"kind\":\"adapter\",\"id\":\"c-adapter\","
                "\"doc\":\"The number of bytes of a text.\"}]}");

static struct chiasm_text text(const char *string) {
    struct chiasm_text text = {string, strlen(string)};
    return text;
}

static int contains(struct chiasm_text json, const char *word) {
    size_t length = strlen(word);
    for (uint64_t i = 0; i + length <= json.length; i++)
        if (memcmp(json.data + i, word, length) == 0) return 1;
    return 0;
}

static int32_t ask(uint32_t question, struct chiasm_text id, struct chiasm_text argument,
                   const struct chiasm_reply *reply) {
    (void)id, (void)argument;
    if (question != CHIASM_ADAPTER_TAKES) return CHIASM_UNSUPPORTED;
    reply->text(reply->host, text("\"text\""));
    return CHIASM_OK;
}

static int32_t draft(struct chiasm_text id, struct chiasm_text signature, struct chiasm_text directory,
                     const struct chiasm_reply *reply) {
    (void)id, (void)signature, (void)directory;
    reply->text(reply->host, text("null"));
    return CHIASM_OK;
}

static int32_t open_adapter(struct chiasm_text id, struct chiasm_text spec,
                            const struct chiasm_services *services, void **adapter,
                            const struct chiasm_reply *reply) {
    (void)id;
    if (contains(spec, "refuse")) {
        reply->error(reply->host, text("the card says `refuse`"));
        return CHIASM_INVALID;
    }
    if (contains(spec, "null-adapter")) return CHIASM_OK;
    services->log(services->host, 3, text("opened in C"));
    uint64_t *own = malloc(2 * sizeof *own);
    own[0] = services->seed(services->host) + services->threads(services->host);
    own[1] = contains(spec, "rank-9");
    *adapter = own;
    return CHIASM_OK;
}

static int32_t inputs(void *adapter, const struct chiasm_reply *reply) {
    (void)adapter;
    reply->text(reply->host, text("[{\"name\":\"x\",\"dtype\":\"f32\",\"dims\":[2],\"pad\":null}]"));
    return CHIASM_OK;
}

static int32_t prepare(void *adapter, uint32_t kind, struct chiasm_text bytes, uint64_t row,
                       const struct chiasm_reply *reply) {
    const uint64_t *own = adapter;
    (void)row;
    if (kind != CHIASM_ITEM_TEXT) {
        reply->error(reply->host, text("expected a text"));
        return CHIASM_INVALID;
    }
    const float values[2] = {(float)bytes.length, (float)own[0]};
    const int64_t shape[1] = {2};
    struct chiasm_tensor tensor = {text("x"), values, sizeof values, 2, 32, 1, own[1] ? 9 : 1, shape};
    reply->tensor(reply->host, &tensor);
    return CHIASM_OK;
}

static int64_t rows(void *adapter) {
    (void)adapter;
    return -1;
}

static int32_t tail(void *adapter, const struct chiasm_reply *reply) {
    (void)adapter;
    reply->bytes(reply->host, text("tail"), "no graph", 8);
    return CHIASM_OK;
}

static void close_adapter(void *adapter) {
    free(adapter);
}

__attribute__((visibility("default"))) const struct chiasm_plugin chiasm_root_c_adapter = {
    .version = CHIASM_C_INTERFACE,
    .size = sizeof(struct chiasm_plugin),
    .kinds = CHIASM_ADAPTER,
    .ask = ask,
    .draft = draft,
    .open = open_adapter,
    .inputs = inputs,
    .prepare = prepare,
    .rows = rows,
    .tail = tail,
    .close = close_adapter,
};
