/* One row group of linear.h, FILTERS in the lanes x ITEMS; included once per tile with NAME, FILTERS, ITEMS and INDEX (the
 * type of the places of the inputs) defined. A weight is loaded once for all items.
 * CHAINS sums run side by side, so that a multiply-add need not wait for the one before it. */
#define PART NAME(_part)
#define PARTS (FILTERS < LANES ? 1 : FILTERS / LANES)
typedef float PART __attribute__((vector_size(4 * FILTERS / PARTS), aligned(4), may_alias));
#include "linear_store.h"
static void NAME()(const linear_step *s, const conv_pointers *p, int group, int item) {
  enum { WIDTH = FILTERS / PARTS, CHAINS = ITEMS * PARTS < LINEAR_SUMS ? LINEAR_SUMS / (ITEMS * PARTS) : 1 };
  PART acc[CHAINS][ITEMS][PARTS] = {0};
  int64_t image = s->in->image;
  const float *in = p->in + item * image, *w = p->weights + (int64_t)p->starts[group] * FILTERS;
  const INDEX *indices = (const INDEX *)p->indices;
  int u = p->starts[group], end = p->starts[group + 1];
#define ADD_UNIT(k)                                                                                                    \
  UNROLL for (int n = 0; n < ITEMS; n++) {                                                                             \
    float x = in[n * image + indices[u + k]];                                                                          \
    UNROLL for (int i = 0; i < PARTS; i++) acc[k][n][i] += *(const PART *)(w + k * FILTERS + i * WIDTH) * x;           \
  }
  for (; u + CHAINS <= end; u += CHAINS, w += CHAINS * FILTERS)
    UNROLL for (int k = 0; k < CHAINS; k++) ADD_UNIT(k)
  for (; u < end; u++, w += FILTERS) ADD_UNIT(0)
#undef ADD_UNIT
  int row = first_row(s, p, group, FILTERS);
  UNROLL for (int n = 0; n < ITEMS; n++) {
    UNROLL for (int k = 1; k < CHAINS; k++)
      UNROLL for (int i = 0; i < PARTS; i++) acc[0][n][i] += acc[k][n][i];
    NAME(_store)(s, p, group, item + n, row, acc[0][n]);
  }
}
#undef PART
#undef PARTS
#undef NAME
#undef FILTERS
#undef ITEMS
#undef INDEX
