/* Runs a generated program (included by name) on inputs from files, under whatever sanitizer it is compiled with.
 * usage: main weights.bin inputs.bin outputs.bin threads < sizes  (number of inputs, floats of each, the same for outputs) */
#include PROGRAM

#include <stdio.h>

static float *read_floats(const char *path, size_t count) {
  size_t bytes = (count * sizeof(float) + 63) / 64 * 64; /* and no more: bounds are seen */
  float *data = aligned_alloc(64, bytes ? bytes : 64);
  FILE *file = fopen(path, "rb");
  if (!data || !file || fread(data, sizeof(float), count, file) != count) exit(4);
  fclose(file);
  return data;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  int counts[2], sizes[2][512], totals[2] = {0, 0};
  for (int side = 0; side < 2; side++) {
    if (scanf("%d", &counts[side]) != 1 || counts[side] > 512) return 2;
    for (int i = 0; i < counts[side]; i++) {
      if (scanf("%d", &sizes[side][i]) != 1) return 2;
      totals[side] += sizes[side][i];
    }
  }
  FILE *file = fopen(argv[1], "rb");
  if (!file) return 2;
  fseek(file, 0, SEEK_END);
  size_t weight_floats = (size_t)ftell(file) / sizeof(float);
  fclose(file);
  float *weights = read_floats(argv[1], weight_floats), *in = read_floats(argv[2], (size_t)totals[0]);
  const float *inputs[512];
  float *outputs[512];
  for (int i = 0, at = 0; i < counts[0]; at += sizes[0][i++]) inputs[i] = in + at;
  for (int i = 0; i < counts[1]; i++) outputs[i] = malloc(sizeof(float) * (size_t)sizes[1][i]); /* each on its own: */
  pmap_engine *engine = pmap_create(weights, atoi(argv[4]));                                    /* bounds are seen  */
  if (!engine) return 5;
  pmap_run(engine, inputs, outputs);
  pmap_run(engine, inputs, outputs);
  pmap_destroy(engine);
  file = fopen(argv[3], "wb");
  for (int i = 0; i < counts[1]; i++) {
    fwrite(outputs[i], sizeof(float), (size_t)sizes[1][i], file);
    free(outputs[i]);
  }
  fclose(file);
  free(weights);
  free(in);
  return 0;
}
