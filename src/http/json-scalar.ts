/** Numbers and literals of JSON by their bytes, and a number as a whole. RFC 8259 section 6. */
export const startsScalar = new Uint8Array(256);
for (const char of '-0123456789tfn') startsScalar[char.charCodeAt(0)] = 1;
export const isScalarByte = new Uint8Array(256);
for (const char of '+-.0123456789abcdefghijklmnopqrstuvwxyzE') isScalarByte[char.charCodeAt(0)] = 1;
export const jsonNumber = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;
