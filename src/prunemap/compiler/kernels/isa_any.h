/* What simd.h needs of a machine that nothing is known of. */
#define HAVE_EXPAND 0

typedef unsigned fp_mode;
INLINE fp_mode fp_flush_denormals(void) { return 0; }
INLINE void fp_restore(fp_mode mode) { (void)mode; }
INLINE void cpu_relax(void) {}
