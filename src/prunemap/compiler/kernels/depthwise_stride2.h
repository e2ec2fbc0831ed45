/* Depthwise 3x3 or 5x5 (KERNEL), stride 2: reads the map itself and takes even and odd columns apart in registers.
 * ROWS output rows at once share the input rows between them. Included once per KERNEL, with NAME.
 *
 * Rows are stored from the top down, so what a vector writes past the end of its row is overwritten by the next one;
 * near the end of the plane no more is stored than belongs to the row. */
#define ROWS 4
#define PAIRS ((KERNEL + 1) / 2)
INLINE void NAME(_tile)(const depthwise_step *s, const depthwise_plane *p, int y, int x, int rows) {
  int in_pitch = s->in->pitch, pitch = s->out->pitch, width = pitch - x < LANES ? pitch - x : LANES;
  const float *in = p->in + p->offsets[0] + 2 * ((int64_t)y * in_pitch + x);
  vfloat acc[ROWS];
  UNROLL for (int r = 0; r < rows; r++) acc[r] = v_splat(p->bias);
  UNROLL for (int i = 0; i < 2 * (rows - 1) + KERNEL; i++) {
    vfloat column[2 * PAIRS];
    UNROLL for (int k = 0; k < PAIRS; k++) {
      const float *pair = in + (int64_t)i * in_pitch + 2 * k;
      vfloat a = v_load(pair), b = v_load(pair + LANES);
      column[2 * k] = v_even(a, b);
      column[2 * k + 1] = v_odd(a, b);
    }
    UNROLL for (int r = 0; r < rows; r++)
      if (i - 2 * r >= 0 && i - 2 * r < KERNEL)
        UNROLL for (int k = 0; k < KERNEL; k++) acc[r] += column[k] * p->weights[(i - 2 * r) * KERNEL + k];
  }
  UNROLL for (int r = 0; r < rows; r++) {
    int64_t place = (int64_t)(y + r) * pitch + x;
    int overwritten = y + r + 1 < s->out->height && place + LANES <= s->out->interior;
    if (overwritten || width == LANES) depthwise_store(s, p, place, acc[r]);
    else depthwise_store_part(s, p, place, acc[r], width);
  }
}

static void NAME()(const depthwise_step *s, const depthwise_plane *p) {
  int height = s->out->height, pitch = s->out->pitch;
  int last = pitch > LANES ? pitch - LANES : 0;
  for (int y = 0; y < height;) {
    int rows = height - y >= ROWS ? ROWS : 1;
    for (int x = 0;; x = x + LANES < last ? x + LANES : last) {
      if (rows == ROWS) NAME(_tile)(s, p, y, x, ROWS);
      else NAME(_tile)(s, p, y, x, 1);
      if (x == last) break;
    }
    y += rows;
  }
}
#undef PAIRS
#undef ROWS
#undef NAME
#undef KERNEL
