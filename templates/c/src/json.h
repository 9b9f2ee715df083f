/* As much of JSON (RFC 8259) as it takes to find one member. Services let nothing but JSON in. */

/* The string that the object `json` has as member `name`, in new memory and in UTF-8; NULL if it has none. Of an escape \uXXXX, an
 * ASCII character is what it says, and any other is a question mark. */
char *json_string(const char *json, const char *name);
