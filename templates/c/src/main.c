/* Counts the words of a text: {"text": "one two"} -> {"words":2}
 * A program: its input stands on stdin, its output goes to stdout. Lines on stderr are its log, and an exit code other
 * than 0 is a failure with the last of them. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "json.h"

/* All of stdin, with a zero byte at its end. */
static char *read_input(void) {
  size_t size = 4096, length = 0;
  char *input = malloc(size);
  while (input != NULL) {
    length += fread(input + length, 1, size - 1 - length, stdin);
    if (length < size - 1) {
      input[length] = 0;
      return input;
    }
    input = realloc(input, size *= 2);
  }
  return NULL;
}

int main(void) {
  char *input = read_input();
  char *text = input == NULL ? NULL : json_string(input, "text");
  if (text == NULL) {
    fputs("text: a string is expected\n", stderr);
    return 1;
  }
  unsigned long words = 0;
  for (int inside = 0; *text != 0; text++) {
    int is_space = isspace((unsigned char)*text);
    if (!is_space && !inside) words++;
    inside = !is_space;
  }
  printf("{\"words\":%lu}\n", words);
  return 0;
}
