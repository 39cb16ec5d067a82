/* A complete aligner in C: it keeps the first k columns of every modality.
 *
 *   cc -shared -fPIC -O2 -I core/abi/include -o libfirst_columns.so examples/c-plugin/first_columns.c -lm
 *   chiasm plugin validate libfirst_columns.so
 */
#include <chiasm_plugin.h>

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#define ARCH "x86_64"
#else
#define ARCH "aarch64"
#endif

CHIASM_MANIFEST("{\"id\":\"first-columns-c\",\"version\":\"1.0.0\",\"abi\":\"2.1.0\","
                "\"licence\":\"Apache-2.0\",\"panic\":\"unwind\",\"arch\":\"" ARCH "\","
                "\"os\":\"linux\",\"interface\":\"c\","
                "\"root\":\"chiasm_root_first_columns\",\"provides\":[{\"kind\":\"aligner\","
                "\"id\":\"first-columns-c\",\"doc\":\"Keeps the first k columns of every modality.\"}]}");

static struct chiasm_text text(const char *string) {
    struct chiasm_text text = {string, strlen(string)};
    return text;
}

static int32_t invalid(const struct chiasm_reply *reply, const char *message) {
    reply->error(reply->host, text(message));
    return CHIASM_INVALID;
}

/* ---- Parameters: {} or {"k": NUMBER} ---- */

/* Reads the parameters. Returns 0 if they are anything else. */
static int read_parameters(struct chiasm_text json, long *k) {
    char copy[64], after;
    size_t length = 0;
    *k = 2;
    for (uint64_t i = 0; i < json.length; i++) {
        if (isspace((unsigned char)json.data[i])) continue;
        if (length + 1 == sizeof copy || json.data[i] == 0) return 0;
        copy[length++] = json.data[i];
    }
    copy[length] = 0;
    if (strcmp(copy, "{}") == 0) return 1;
    return sscanf(copy, "{\"k\":%6ld}%c", k, &after) == 1 && copy[length - 1] == '}' && *k >= 1;
}

static int32_t ask(uint32_t question, struct chiasm_text id, struct chiasm_text argument,
                   const struct chiasm_reply *reply) {
    long k;
    (void)id;
    switch (question) {
    case CHIASM_ALIGNER_PARAMETERS:
        reply->text(reply->host, text("[{\"name\":\"k\",\"type\":\"integer\",\"range\":{\"least\":1},"
                                      "\"default\":2,"
                                      "\"doc\":\"The number of columns to keep.\"}]"));
        return CHIASM_OK;
    case CHIASM_ALIGNER_TAKES:
        if (!read_parameters(argument, &k))
            return invalid(reply, "expected the parameters {} or {\"k\": a number of at least 1}");
        reply->text(reply->host, text("{\"least\":1,\"most\":null}"));
        return CHIASM_OK;
    default:
        reply->error(reply->host, text("this plugin has aligners only"));
        return CHIASM_UNSUPPORTED;
    }
}

/* ---- A small writer of protobuf messages, for the ONNX graph ---- */

struct buffer {
    unsigned char *data;
    size_t length, capacity;
    int failed;
};

static void put(struct buffer *b, const void *data, size_t length) {
    if (b->failed || length > SIZE_MAX - b->length) {
        b->failed = 1;
        return;
    }
    if (b->length + length > b->capacity) {
        size_t capacity = 2 * (b->length + length);
        unsigned char *larger = realloc(b->data, capacity);
        if (!larger) {
            b->failed = 1;
            return;
        }
        b->data = larger;
        b->capacity = capacity;
    }
    memcpy(b->data + b->length, data, length);
    b->length += length;
}

static void put_varint(struct buffer *b, uint64_t value) {
    unsigned char byte;
    do {
        byte = (unsigned char)((value & 127) | (value > 127 ? 128 : 0));
        put(b, &byte, 1);
        value >>= 7;
    } while (value);
}

static void put_number(struct buffer *b, int field, uint64_t value) {
    put_varint(b, (uint64_t)field << 3);
    put_varint(b, value);
}

static void put_bytes(struct buffer *b, int field, const void *data, size_t length) {
    put_varint(b, (uint64_t)field << 3 | 2);
    put_varint(b, length);
    put(b, data, length);
}

static void put_string(struct buffer *b, int field, const char *string) {
    put_bytes(b, field, string, strlen(string));
}

/* Appends a message and frees it. */
static void put_message(struct buffer *b, int field, struct buffer *message) {
    b->failed |= message->failed;
    put_bytes(b, field, message->data ? message->data : (unsigned char *)"", message->length);
    free(message->data);
}

/* A port: float [batch, width]. */
static void put_port(struct buffer *graph, int field, const char *name, uint64_t width) {
    struct buffer port = {0}, type = {0}, tensor = {0}, shape = {0}, batch = {0}, columns = {0};
    put_string(&batch, 2, "batch");
    put_number(&columns, 1, width);
    put_message(&shape, 1, &batch);
    put_message(&shape, 1, &columns);
    put_number(&tensor, 1, 1); /* FLOAT */
    put_message(&tensor, 2, &shape);
    put_message(&type, 1, &tensor);
    put_string(&port, 1, name);
    put_message(&port, 2, &type);
    put_message(graph, field, &port);
}

/* The model z = x W, where W keeps the first k of `width` columns. */
static struct buffer model(uint64_t width, uint64_t k) {
    struct buffer model = {0}, graph = {0}, node = {0}, weight = {0}, opset = {0};
    float *w = calloc(width * k, sizeof *w);
    if (!w) {
        model.failed = 1;
        return model;
    }
    for (uint64_t i = 0; i < k; i++) w[i * k + i] = 1.0f;
    put_string(&node, 1, "x");
    put_string(&node, 1, "w");
    put_string(&node, 2, "z");
    put_string(&node, 4, "MatMul");
    put_number(&weight, 1, width);
    put_number(&weight, 1, k);
    put_number(&weight, 2, 1); /* FLOAT */
    put_string(&weight, 8, "w");
    put_bytes(&weight, 9, w, width * k * sizeof *w);
    free(w);
    put_message(&graph, 1, &node);
    put_string(&graph, 2, "first-columns");
    put_message(&graph, 5, &weight);
    put_port(&graph, 11, "x", width);
    put_port(&graph, 12, "z", k);
    put_number(&opset, 2, 17);
    put_number(&model, 1, 8); /* IR version */
    put_message(&model, 7, &graph);
    put_message(&model, 8, &opset);
    return model;
}

/* ---- The fit ---- */

static int is_pooled(const struct chiasm_tensor *tensor, uint64_t *name_length) {
    static const char suffix[] = ".pooled";
    const uint64_t end = sizeof suffix - 1;
    if (tensor->name.length <= end) return 0;
    *name_length = tensor->name.length - end;
    return memcmp(tensor->name.data + *name_length, suffix, end) == 0;
}

static int32_t fit(uint32_t kind, struct chiasm_text id, const struct chiasm_tensor *data, uint64_t count,
                   struct chiasm_text parameters, struct chiasm_text context,
                   const struct chiasm_services *services, const struct chiasm_reply *reply) {
    long k;
    char report[64];
    (void)kind, (void)id, (void)context;
    if (!read_parameters(parameters, &k))
        return invalid(reply, "expected the parameters {} or {\"k\": a number of at least 1}");
    for (uint64_t i = 0; i < count; i++) {
        const struct chiasm_tensor *tensor = &data[i];
        uint64_t name_length;
        if (!is_pooled(tensor, &name_length)) continue;
        if (tensor->code != 2 || tensor->bits != 32 || tensor->rank != 2)
            return invalid(reply, "expected vectors of 32-bit floats with 2 axes");
        if (tensor->shape[1] < k) return invalid(reply, "k is larger than the width of a modality");
        const float *values = tensor->data;
        for (uint64_t j = 0; j < tensor->bytes / sizeof *values; j++)
            if (!isfinite(values[j])) return invalid(reply, "expected finite numbers");
        if (!services->progress(services->host, i, count)) {
            reply->error(reply->host, text("stopped as asked"));
            return CHIASM_CANCELLED;
        }
        char name[256];
        int written = snprintf(name, sizeof name, "map.%.*s", (int)name_length, tensor->name.data);
        if (written < 0 || written >= (int)sizeof name)
            return invalid(reply, "the name of a modality is too long");
        struct buffer graph = model((uint64_t)tensor->shape[1], (uint64_t)k);
        if (graph.failed) {
            free(graph.data);
            reply->error(reply->host, text("out of memory"));
            return CHIASM_OTHER;
        }
        reply->bytes(reply->host, text(name), graph.data, graph.length);
        free(graph.data);
    }
    snprintf(report, sizeof report, "{\"parameters\":{\"k\":%ld},\"notes\":null}", k);
    reply->text(reply->host, text(report));
    return CHIASM_OK;
}

__attribute__((visibility("default"))) const struct chiasm_plugin chiasm_root_first_columns = {
    .version = CHIASM_C_INTERFACE,
    .size = sizeof(struct chiasm_plugin),
    .kinds = CHIASM_ALIGNER,
    .ask = ask,
    .fit = fit,
};
