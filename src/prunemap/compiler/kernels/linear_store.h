/* Store the sums of one item and row group, PARTS vectors of type PART; included by the tiles of linear.h.
 * row: from first_row. */
INLINE void NAME(_store)(const linear_step *s, const conv_pointers *p, int group, int item, int row, const PART *sums) {
  enum { WIDTH = sizeof(PART) / sizeof(float), FILTERS_ = WIDTH * PARTS };
  if (row < 0) {
    float in_order[FILTERS_];
    UNROLL for (int i = 0; i < PARTS; i++) *(PART *)(in_order + i * WIDTH) = sums[i];
    linear_store(s, p, group, item, in_order, FILTERS_);
    return;
  }
  float *out = p->out + item * s->out->image + row;
  const float *bias = p->bias + group * FILTERS_;
  const float *residual = p->residual ? p->residual + item * s->residual->image + row : 0;
  PART low = s->low - (PART){0}, high = s->high - (PART){0};
  UNROLL for (int i = 0; i < PARTS; i++) {
    PART y = sums[i] + *(const PART *)(bias + i * WIDTH);
    if (residual) y += *(const PART *)(residual + i * WIDTH);
    y = V_AT_LEAST(y, low);
    *(PART *)(out + i * WIDTH) = V_AT_MOST(y, high);
  }
}
