/* Depthwise 3x3 or 5x5 (KERNEL), stride 1: ROWS output rows at once, so that a loaded input row serves all of them:
 * (ROWS + KERNEL - 1) * KERNEL loads for ROWS * KERNEL * KERNEL multiply-adds. Included once per KERNEL, with NAME.
 *
 * A vector that would pass the end of its row starts earlier instead; where rows are shorter than a vector it runs into
 * the next row, whose values it computes too. */
#define ROWS (LANES == 16 ? 7 : 4)
INLINE void NAME(_tile)(const depthwise_step *s, const depthwise_plane *p, int64_t place, int rows) {
  int pitch = s->out->pitch;
  const float *in = p->in + p->offsets[0] + place;
  vfloat acc[ROWS];
  UNROLL for (int r = 0; r < rows; r++) acc[r] = v_splat(p->bias);
  UNROLL for (int kx = 0; kx < KERNEL; kx++) {
    UNROLL for (int y = 0; y < rows + KERNEL - 1; y++) {
      vfloat x = v_load(in + (int64_t)y * pitch + kx);
      UNROLL for (int ky = 0; ky < KERNEL; ky++)
        if (y - ky >= 0 && y - ky < rows) acc[y - ky] += x * p->weights[ky * KERNEL + kx];
    }
  }
  UNROLL for (int r = 0; r < rows; r++) depthwise_store(s, p, place + (int64_t)r * pitch, acc[r]);
}

static void NAME()(const depthwise_step *s, const depthwise_plane *p) {
  int height = s->out->height, pitch = s->out->pitch;
  int last = pitch > LANES ? pitch - LANES : 0;
  for (int y = 0; y < height;) {
    int rows = height - y >= ROWS ? ROWS : 1;
    for (int x = 0;; x = x + LANES < last ? x + LANES : last) {
      int64_t place = (int64_t)y * pitch + x;
      if (rows == ROWS) NAME(_tile)(s, p, place, ROWS);
      else NAME(_tile)(s, p, place, 1);
      if (x == last) break;
    }
    y += rows;
    if (y < height && height - y < ROWS && height >= ROWS) y = height - ROWS; /* the last rows once more, together */
  }
}
#undef ROWS
#undef NAME
#undef KERNEL
