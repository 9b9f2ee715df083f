#include "json.h"

#include <stdlib.h>
#include <string.h>

static const char *skip_space(const char *at) {
  return at + strspn(at, " \t\r\n");
}

/* Behind the string whose opening quote is at `at`. */
static const char *skip_string(const char *at) {
  for (at++; *at != 0 && *at != '"'; at++) {
    if (*at == '\\' && at[1] != 0) at++;
  }
  return *at == '"' ? at + 1 : at;
}

/* Behind a value of any kind. */
static const char *skip_value(const char *at) {
  int depth = 0;
  for (; *at != 0; at++) {
    if (depth == 0 && (*at == ',' || *at == '}')) break;
    if (*at == '"') {
      at = skip_string(at) - 1;
    } else if (*at == '{' || *at == '[') {
      depth++;
    } else if (*at == '}' || *at == ']') {
      depth--;
    }
  }
  return at;
}

/* What a string says, whose opening quote is at `at`. */
static char *said(const char *at) {
  const char *end = skip_string(at);
  char *text = malloc((size_t)(end - at)), *to = text;
  if (text == NULL) return NULL;
  for (at++; at < end && *at != '"'; at++) {
    if (*at != '\\') {
      *to++ = *at;
      continue;
    }
    at++;
    if (*at == 'u' && end - at > 4) {
      char digits[5] = {at[1], at[2], at[3], at[4], 0};
      long unit = strtol(digits, NULL, 16);
      *to++ = unit > 0 && unit < 0x80 ? (char)unit : '?';
      at += 4;
    } else {
      const char *escape = strchr("b\bf\fn\nr\rt\t", *at);
      *to++ = escape == NULL ? *at : escape[1];
    }
  }
  *to = 0;
  return text;
}

char *json_string(const char *json, const char *name) {
  const char *at = skip_space(json);
  if (*at++ != '{') return NULL;
  char *found = NULL;
  for (at = skip_space(at); *at == '"'; at = skip_space(at + 1)) {
    char *key = said(at);
    at = skip_space(skip_string(at));
    if (key == NULL || *at++ != ':') return NULL;
    at = skip_space(at);
    if (strcmp(key, name) == 0) {
      free(found);
      found = *at == '"' ? said(at) : NULL;
    }
    free(key);
    at = skip_value(at);
    if (*at != ',') break;
  }
  return found;
}
