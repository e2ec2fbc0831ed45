/* One row group of linear.h for pick lists, FILTERS in the lanes x ITEMS; included once per tile with NAME, FILTERS and
 * ITEMS defined. A step loads a window of two vectors of inputs, and every lane picks one of them.
 * CHAINS sums run side by side, so that a multiply-add need not wait for the one before it. */
#define OF(name) V_PASTE(name, FILTERS)
#define PART OF(floats)
#define PARTS 1
#define CODE (2 + FILTERS) /* bytes of a step */
#include "linear_store.h"
static void NAME()(const linear_step *s, const conv_pointers *p, int group, int item) {
  enum { CHAINS = ITEMS < 4 ? 4 / ITEMS : 1 };
  OF(floats) acc[CHAINS][ITEMS] = {0};
  int64_t image = s->in->image, first = p->starts[group];
  const float *in = p->in + item * image, *w = p->weights + first * FILTERS;
  const uint8_t *code = (const uint8_t *)p->indices + first * CODE;
  int steps = p->starts[group + 1] - p->starts[group];
#define ADD_STEP(k)                                                                                                    \
  do {                                                                                                                 \
    uint16_t at;                                                                                                       \
    memcpy(&at, code + (k) * CODE, sizeof at);                                                                         \
    OF(ints) from = OF(widen)(code + (k) * CODE + sizeof at);                                                          \
    OF(floats) weights = *(const OF(floats) *)(w + (k) * FILTERS);                                                     \
    UNROLL for (int n = 0; n < ITEMS; n++) {                                                                           \
      const OF(floats) *x = (const OF(floats) *)(in + n * image + at * FILTERS);                                       \
      acc[k][n] += weights * OF(pick)(x[0], x[1], from);                                                               \
    }                                                                                                                  \
  } while (0)
  for (; steps >= CHAINS; steps -= CHAINS, code += CHAINS * CODE, w += CHAINS * FILTERS)
    UNROLL for (int k = 0; k < CHAINS; k++) ADD_STEP(k);
  for (; steps > 0; steps--, code += CODE, w += FILTERS) ADD_STEP(0);
#undef ADD_STEP
  int row = first_row(s, p, group, FILTERS);
  UNROLL for (int n = 0; n < ITEMS; n++) {
    UNROLL for (int k = 1; k < CHAINS; k++) acc[0][n] += acc[k][n];
    NAME(_store)(s, p, group, item + n, row, &acc[0][n]);
  }
}
#undef CODE
#undef PART
#undef PARTS
#undef OF
#undef NAME
#undef FILTERS
#undef ITEMS
#undef INDEX
