/* The weights inside of the program. Leave this file out to map or read weights.bin at run time instead: pmap_create
 * takes any copy of it that is aligned to 64 bytes. */
#ifndef WEIGHTS_FILE
#define WEIGHTS_FILE "weights.bin"
#endif
#ifdef __APPLE__
#define SECTION ".const_data\n"
#define UNDERSCORE "_"
#else
#define SECTION ".section .rodata\n"
#define UNDERSCORE ""
#endif
#ifdef PMAP_PREFIX
#define AS_TEXT_(x) #x
#define AS_TEXT(x) AS_TEXT_(x)
#define SYMBOL UNDERSCORE AS_TEXT(PMAP_PREFIX) "model_weights"
#else
#define SYMBOL UNDERSCORE "model_weights"
#endif
/* 64 more bytes, so that there is an address even without weights */
__asm__(SECTION ".globl " SYMBOL "\n.balign 64\n" SYMBOL ":\n.incbin \"" WEIGHTS_FILE "\"\n.zero 64\n.text\n");
