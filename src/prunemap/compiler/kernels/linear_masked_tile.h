/* One row group of linear.h for mask bundles, FILTERS in the lanes x ITEMS; included once per tile with NAME, FILTERS,
 * ITEMS and INDEX (the type of the codes) defined.
 * Which lanes the weights of a column go to is worked out once per bundle of columns that the same rows keep. There are
 * two loads per column and too few lanes in use for arithmetic to matter. Reads so uneven lose the machine's own
 * prefetching, and asking for some of the cache lines misleads it: weights are asked for AHEAD floats before, once per
 * LINE lanes, more often than a new line begins. */
#define AHEAD 2048
#define LINE 16
#define OF(name) V_PASTE(name, FILTERS)
#define PART OF(floats)
#define PARTS 1
#include "linear_store.h"
static void NAME()(const linear_step *s, const conv_pointers *p, int group, int item) {
  enum { CHAINS = ITEMS < QUAD ? QUAD / ITEMS : 1 };
  OF(floats) acc[CHAINS][ITEMS] = {0};
  int64_t image = s->in->image;
  const float *in = p->in + item * image, *w = p->weights + p->weight_starts[group];
  const INDEX *counts = (const INDEX *)p->indices + p->starts[group], *codes = counts + BUNDLE_SIZES;
  UNROLL for (int size = QUAD; size > 0; size /= 2)
    for (int n = *counts++; n > 0; n--)
      UNROLL for (int bundle = 0; bundle < QUAD; bundle += size) {
        int kept = *codes++, rows = count_bits(kept);
        OF(lanes) to = OF(to_lanes)(kept);
        UNROLL for (int k = 0; k < size; k++, w += rows) {
          if ((bundle + k) % (LINE / FILTERS) == 0) prefetch(w + AHEAD);
          OF(floats) weights = OF(expand)(&to, w);
          const float *x = in + *codes++;
          UNROLL for (int i = 0; i < ITEMS; i++) acc[(bundle + k) % CHAINS][i] += weights * x[i * image];
        }
      }
  int row = first_row(s, p, group, FILTERS);
  UNROLL for (int i = 0; i < ITEMS; i++) {
    UNROLL for (int k = 1; k < CHAINS; k++) acc[0][i] += acc[k][i];
    NAME(_store)(s, p, group, item + i, row, &acc[0][i]);
  }
}
#undef PART
#undef PARTS
#undef AHEAD
#undef LINE
#undef OF
#undef NAME
#undef FILTERS
#undef ITEMS
#undef INDEX
