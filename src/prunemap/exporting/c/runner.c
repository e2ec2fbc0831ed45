/* The program of `prunemap export --format exe`: checks the model against a stored reference, then times it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "reference.h"

enum { FAILED_CHECK = 1, BAD_USAGE = 2, NO_RESOURCES = 3, MOST_RUNS = 1000000, MOST_THREADS = 256 };

typedef struct {
  int threads, runs, warmup, json, layers, check;
  const char *inputs, *outputs, *times;
} options;

static const char HELP[] =
    "usage: %s [options]\n"
    "Runs " MODEL_NAME " (compiled for " MODEL_TARGET "): checks it against the stored reference, then times it.\n"
    "  --threads N      threads, 1 to 256; default 1\n"
    "  --runs N         timed runs, 0 to 1000000; default 50\n"
    "  --warmup N       runs before them, after a first one; default 5\n"
    "  --inputs FILE    all inputs one after another, four bytes per element; default: the reference's own\n"
    "  --outputs FILE   where to write all outputs likewise\n"
    "  --times FILE     where to write the times of runs x layers in seconds, as doubles\n"
    "  --no-check       do not compare with the reference (never done for --inputs)\n"
    "  --no-layers      do not time every layer\n"
    "  --json           one JSON object instead of tables\n"
    "Exit codes: 0 done, 1 the outputs are not those of the reference, 2 usage or files, 3 no memory or threads.\n";

static int number(const char *text, int least, int most, int *value) {
  char *end;
  long read = strtol(text, &end, 10);
  *value = (int)read;
  return *text && !*end && read >= least && read <= most;
}

/* Read the arguments; 0 = go on, else the exit code + 1. */
static int parse(int argc, char **argv, options *o) {
  for (int i = 1; i < argc; i++) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
    int ok = 1, takes_value = 1;
    if (!strcmp(name, "--threads")) ok = number(value, 1, MOST_THREADS, &o->threads);
    else if (!strcmp(name, "--runs")) ok = number(value, 0, MOST_RUNS, &o->runs);
    else if (!strcmp(name, "--warmup")) ok = number(value, 0, MOST_RUNS, &o->warmup);
    else if (!strcmp(name, "--inputs")) ok = *(o->inputs = value) != 0;
    else if (!strcmp(name, "--outputs")) ok = *(o->outputs = value) != 0;
    else if (!strcmp(name, "--times")) ok = *(o->times = value) != 0;
    else {
      takes_value = 0;
      if (!strcmp(name, "--no-check")) o->check = 0;
      else if (!strcmp(name, "--no-layers")) o->layers = 0;
      else if (!strcmp(name, "--json")) o->json = 1;
      else if (!strcmp(name, "--help")) return printf(HELP, argv[0]), 1;
      else return fprintf(stderr, "error: %s: no such option; see --help\n", name), BAD_USAGE + 1;
    }
    if (!ok) return fprintf(stderr, "error: %s: got '%s'; see --help\n", name, value), BAD_USAGE + 1;
    i += takes_value;
  }
  return 0;
}

/* The inputs of the reference: numbers in [-1, 1), or 0 and 1 for what holds integers, by place alone. */
static uint32_t mixed(uint32_t x) {
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) * 0x846ca68bu;
  return x ^ x >> 16;
}
static void fill(const model_tensor *t, uint32_t first, float *data) {
  int is_float = !strcmp(t->dtype, "float32");
  for (int64_t i = 0; i < t->elements; i++) {
    uint32_t x = mixed(first + (uint32_t)i);
    int32_t bit = (int32_t)(x >> 31);
    if (is_float) data[i] = (float)(int32_t)(x >> 8) * 0x1p-23f - 1;
    else memcpy(data + i, &bit, 4);
  }
}

static int read_inputs(const options *o, float **inputs) {
  FILE *file = o->inputs ? fopen(o->inputs, "rb") : 0;
  int ok = file || !o->inputs;
  uint32_t first = 0;
  for (int i = 0; i < MODEL_INPUTS && ok; first += (uint32_t)model_inputs[i++].elements) {
    size_t count = (size_t)model_inputs[i].elements;
    if (!file) fill(&model_inputs[i], first, inputs[i]);
    else ok = fread(inputs[i], 4, count, file) == count;
  }
  ok = ok && (!file || fgetc(file) == EOF);
  if (file) fclose(file);
  if (!ok) fprintf(stderr, "error: --inputs: %s is not there or not of the size of all inputs\n", o->inputs);
  return ok;
}

static int write_outputs(const char *path, float **outputs) {
  FILE *file = fopen(path, "wb");
  int ok = file != 0;
  for (int i = 0; i < MODEL_OUTPUTS && ok; i++) {
    size_t count = (size_t)model_outputs[i].elements;
    ok = fwrite(outputs[i], 4, count, file) == count;
  }
  if (file) ok &= fclose(file) == 0;
  if (!ok) fprintf(stderr, "error: --outputs: %s cannot be written\n", path);
  return ok;
}

static int write_times(const char *path, const double *seconds, size_t count) {
  FILE *file = fopen(path, "wb");
  int ok = file && fwrite(seconds, sizeof *seconds, count, file) == count;
  if (file) ok &= fclose(file) == 0;
  if (!ok) fprintf(stderr, "error: --times: %s cannot be written\n", path);
  return ok;
}

static double value_at(const model_tensor *t, const float *data, int64_t i) {
  int32_t whole;
  memcpy(&whole, data + i, 4);
  return strcmp(t->dtype, "float32") ? (double)whole : (double)data[i];
}

/* The largest error of the outputs, each over its largest magnitude in the reference; of large ones, a sample. */
static double worst_error(float **outputs) {
  double worst = 0;
  for (int k = 0; k < MODEL_OUTPUTS; k++) {
    const model_reference *r = &model_references[k];
    double error = 0;
    for (int64_t i = 0; i < r->count; i++) {
      double off = fabs(value_at(&model_outputs[k], outputs[k], i * r->step) - r->values[i]);
      if (!(off <= error)) error = off; /* NaN too */
    }
    if (error != 0) error /= r->magnitude;
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static double median(double *values, int count) {
  qsort(values, (size_t)count, sizeof *values, by_size);
  return count ? (values[(count - 1) / 2] + values[count / 2]) / 2 : 0;
}

static void print_text(const char *text) {
  putchar('"');
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') putchar('\\');
    if ((unsigned char)*text < ' ') printf("\\u%04x", *text);
    else putchar(*text);
  }
  putchar('"');
}

static void print_json(const options *o, double error, const double *runs, const double *slots) {
  printf("{\"model\": ");
  print_text(MODEL_NAME);
  printf(", \"target\": \"" MODEL_TARGET "\", \"threads\": %d, \"check\": ", o->threads);
  if (o->check) /* JSON has no infinity */
    printf("{\"max_relative_error\": %.3e, \"tolerance\": %g, \"passed\": %s}", error <= 1e30 ? error : 1e30,
           MODEL_TOLERANCE, error <= MODEL_TOLERANCE ? "true" : "false");
  else printf("null");
  printf(", \"run_us\": [");
  for (int i = 0; i < o->runs; i++) printf("%s%.3f", i ? ", " : "", 1e6 * runs[i]);
  printf("], \"slots\": [");
  for (int i = 0; i < MODEL_SLOTS && o->layers; i++) {
    printf("%s{\"name\": ", i ? ", " : "");
    print_text(model_slots[i]);
    printf(", \"median_us\": %.3f}", 1e6 * slots[i]);
  }
  printf("]}\n");
}

static void print_tables(const options *o, double error, double *runs, const double *slots) {
  printf("%s for %s, threads: %d\n", MODEL_NAME, MODEL_TARGET, o->threads);
  if (o->check)
    printf("check: %s, largest relative error %.2e, allowed %g (reference: %s)\n",
           error <= MODEL_TOLERANCE ? "passed" : "FAILED", error, MODEL_TOLERANCE, MODEL_REFERENCE);
  if (!o->runs) return;
  double whole = median(runs, o->runs);
  printf("time: median %.3f ms, least %.3f ms, most %.3f ms of %d runs\n", 1e3 * whole, 1e3 * runs[0],
         1e3 * runs[o->runs - 1], o->runs);
  for (int i = 0; i < MODEL_SLOTS && o->layers; i++)
    printf("%10.1f us %5.1f %%  %s\n", 1e6 * slots[i], whole > 0 ? 100 * slots[i] / whole : 0, model_slots[i]);
}

/* Median seconds of every slot; returns the exit code. */
static int time_layers(pmap_engine *engine, const options *o, const float *const *in, float **out, double *slots) {
  double *seconds = malloc(((size_t)o->runs * MODEL_SLOTS + 1) * sizeof *seconds);
  double *one = malloc(((size_t)o->runs + 1) * sizeof *one);
  if (seconds && one) {
    pmap_time_slots(engine, in, out, o->runs, seconds);
    for (int k = 0; k < MODEL_SLOTS; k++) {
      for (int i = 0; i < o->runs; i++) one[i] = seconds[(size_t)i * MODEL_SLOTS + (size_t)k];
      slots[k] = median(one, o->runs);
    }
  }
  int code = !seconds || !one ? NO_RESOURCES : 0;
  if (!code && o->times && !write_times(o->times, seconds, (size_t)o->runs * MODEL_SLOTS)) code = BAD_USAGE;
  free(seconds);
  free(one);
  return code;
}

static int measure(pmap_engine *engine, options *o, float **inputs, float **outputs) {
  const float *in[MODEL_INPUTS + 1] = {0};
  static double slots[MODEL_SLOTS + 1];
  for (int i = 0; i < MODEL_INPUTS; i++) in[i] = inputs[i];
  double *runs = malloc(((size_t)o->runs + 1) * sizeof *runs);
  if (!runs) return NO_RESOURCES;
  for (int i = 0; i <= o->warmup; i++) pmap_run(engine, in, outputs);
  pmap_time_runs(engine, in, outputs, o->runs, runs);
  o->layers = o->layers && o->runs > 0;
  int code = o->layers ? time_layers(engine, o, in, outputs, slots) : 0;
  double error = o->check ? worst_error(outputs) : 0; /* of the last run */
  if (!code && o->outputs && !write_outputs(o->outputs, outputs)) code = BAD_USAGE;
  if (!code && o->json) print_json(o, error, runs, slots);
  else if (!code) print_tables(o, error, runs, slots);
  free(runs);
  return code ? code : error <= MODEL_TOLERANCE ? 0 : FAILED_CHECK;
}

int main(int argc, char **argv) {
  options o = {.threads = 1, .runs = 50, .warmup = 5, .layers = 1, .check = 1};
  int stop = parse(argc, argv, &o);
  if (stop) return stop - 1;
  if (o.inputs) o.check = 0;
  static float *inputs[MODEL_INPUTS + 1], *outputs[MODEL_OUTPUTS + 1];
  pmap_engine *engine = pmap_create(model_weights, o.threads);
  int ok = engine != 0;
  for (int i = 0; i < MODEL_INPUTS; i++) ok &= (inputs[i] = calloc((size_t)model_inputs[i].elements + 1, 4)) != 0;
  for (int i = 0; i < MODEL_OUTPUTS; i++) ok &= (outputs[i] = calloc((size_t)model_outputs[i].elements + 1, 4)) != 0;
  int code = NO_RESOURCES;
  if (!ok) fprintf(stderr, "error: no memory, or no %d threads\n", o.threads);
  else code = read_inputs(&o, inputs) ? measure(engine, &o, inputs, outputs) : BAD_USAGE;
  pmap_destroy(engine);
  for (int i = 0; i < MODEL_INPUTS; i++) free(inputs[i]);
  for (int i = 0; i < MODEL_OUTPUTS; i++) free(outputs[i]);
  return code;
}
