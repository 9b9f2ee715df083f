/* What a program of WASI preview 1 finds around itself. The input says what to do, as a JSON string. */
#ifndef PROBE_H
#define PROBE_H

#include <stddef.h>

/* Does what the input says and writes one JSON value to `output`. Not every deed comes back. */
void probe(const char *input, char *output, size_t room);

#endif
