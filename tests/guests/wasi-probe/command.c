/* The probe as a program: mode wasi-v1. */

#include "probe.h"

#include <stdio.h>

int main(void) {
  static char input[1024], output[8192];
  size_t length = fread(input, 1, sizeof input - 1, stdin);
  input[length] = '\0';
  probe(input, output, sizeof output);
  /* A second line on stderr is for the log. */
  fputs("the probe is done\n", stderr);
  fputs(output, stdout);
  return fflush(stdout) == 0 ? 0 : 1;
}
