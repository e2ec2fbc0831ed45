/* One row group of linear.h, FILTERS in the lanes; included once per height with NAME, FILTERS and INDEX (the
 * type of the places of the inputs) defined.
 * CHAINS sums run side by side, so that a multiply-add need not wait for the one before it. */
#define CHAINS 4
static void NAME()(const linear_step *s, const conv_pointers *p, int group) {
  typedef float part __attribute__((vector_size(4 * (FILTERS < LANES ? FILTERS : LANES)), aligned(4), may_alias));
  enum { WIDTH = FILTERS < LANES ? FILTERS : LANES, PARTS = FILTERS / WIDTH };
  part acc[CHAINS][PARTS] = {0};
  int u = p->starts[group], end = p->starts[group + 1];
  const INDEX *indices = (const INDEX *)p->indices;
  const float *w = p->weights + (int64_t)u * FILTERS;
  for (; u + CHAINS <= end; u += CHAINS, w += CHAINS * FILTERS)
    UNROLL for (int k = 0; k < CHAINS; k++) {
      float x = p->in[indices[u + k]];
      UNROLL for (int i = 0; i < PARTS; i++) acc[k][i] += *(const part *)(w + k * FILTERS + i * WIDTH) * x;
    }
  for (; u < end; u++, w += FILTERS)
    UNROLL for (int i = 0; i < PARTS; i++) acc[0][i] += *(const part *)(w + i * WIDTH) * p->in[indices[u]];
  float sums[FILTERS];
  UNROLL for (int i = 0; i < PARTS; i++)
    *(part *)(sums + i * WIDTH) = (acc[0][i] + acc[1][i]) + (acc[2][i] + acc[3][i]);
  for (int f = 0; f < FILTERS; f++) {
    int row = p->rows[group * FILTERS + f];
    if (row < 0) continue;
    float y = sums[f] + p->bias[group * FILTERS + f];
    if (p->residual) y += p->residual[(int64_t)row * s->residual->plane];
    p->out[(int64_t)row * s->out->plane] = f_clamp(y, s->low, s->high);
  }
}
#undef CHAINS
#undef NAME
#undef FILTERS
#undef INDEX
