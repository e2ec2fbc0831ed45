/* Example: runs the model once. Inputs come from a file, or are zeros; outputs go to a file, or the largest element of
 * each is printed.
 * usage: main [INPUTS.bin [OUTPUTS.bin]]   (all tensors one after another, four bytes per element, little endian) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

static void *elements(int64_t count) { return calloc((size_t)count, 4); }

static int64_t largest(const model_tensor *t, const void *data) {
  int64_t best = 0;
  for (int64_t i = 1; i < t->elements; i++) {
    int is_float = strcmp(t->dtype, "float32") == 0;
    if (is_float ? ((const float *)data)[i] > ((const float *)data)[best]
                 : ((const int32_t *)data)[i] > ((const int32_t *)data)[best])
      best = i;
  }
  return best;
}

int main(int argc, char **argv) {
  const float *inputs[MODEL_INPUTS + 1] = {0};
  float *outputs[MODEL_OUTPUTS + 1] = {0};
  FILE *in = argc > 1 ? fopen(argv[1], "rb") : 0, *out = argc > 2 ? fopen(argv[2], "wb") : 0;
  int failed = (argc > 1 && !in) || (argc > 2 && !out);

  pmap_engine *engine = pmap_create(model_weights, 1); /* with one thread; memory is taken here, none while it runs */
  if (!engine) return 3;
  for (int i = 0; i < MODEL_INPUTS; i++) {
    float *input = elements(model_inputs[i].elements);
    inputs[i] = input;
    size_t count = (size_t)model_inputs[i].elements;
    failed |= !input || (in && fread(input, 4, count, in) != count);
  }
  for (int i = 0; i < MODEL_OUTPUTS; i++) failed |= !(outputs[i] = elements(model_outputs[i].elements));

  if (!failed) pmap_run(engine, inputs, outputs);
  for (int i = 0; i < MODEL_OUTPUTS && !failed; i++) {
    size_t count = (size_t)model_outputs[i].elements;
    if (out) failed |= fwrite(outputs[i], 4, count, out) != count;
    else if (count) printf("%s: largest at %lld\n", model_outputs[i].name, (long long)largest(&model_outputs[i], outputs[i]));
  }

  pmap_destroy(engine);
  for (int i = 0; i < MODEL_INPUTS; i++) free((void *)inputs[i]);
  for (int i = 0; i < MODEL_OUTPUTS; i++) free(outputs[i]);
  if (in) fclose(in);
  if (out) failed |= fclose(out) != 0;
  if (failed) fprintf(stderr, "a file cannot be read or written, or there is no memory\n");
  return failed;
}
