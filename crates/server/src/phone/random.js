// Random identifiers. They are unguessable, so that a stranger cannot end a call by a forged request.

/** So many random octets in hexadecimal. */
export function hex(octets) {
  return Array.from(crypto.getRandomValues(new Uint8Array(octets)), octet => octet.toString(16).padStart(2, "0")).join(
    "",
  );
}

/** RFC 3261 8.1.1.7: the prefix says that the branch is unique. */
export const newBranch = () => `z9hG4bK${hex(12)}`;

/** RFC 3261 19.3. */
export const newTag = () => hex(8);

/** RFC 5626 4.1: the URN of a random UUID (RFC 4122 4.4). */
export function newInstance() {
  const digits = hex(16);
  const variant = "89ab"[parseInt(digits[16], 16) & 3];
  const groups = [
    digits.slice(0, 8),
    digits.slice(8, 12),
    `4${digits.slice(13, 16)}`,
    variant + digits.slice(17, 20),
    digits.slice(20),
  ];
  return `urn:uuid:${groups.join("-")}`;
}
