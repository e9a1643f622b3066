// Ids that the client makes: UUIDs of version 7, so that they sort by the time of their making.

export type RandomBytes = (bytes: Uint8Array<ArrayBuffer>) => void;

const webRandom: RandomBytes = (bytes) => {
  crypto.getRandomValues(bytes);
};

let lastMs = 0;
let lastCount = 0;

/**
 * uuidv7 returns a new id. Ids of one page load ascend strictly, also within a millisecond and when the clock
 * goes back: 12 bits behind the time are a counter, 62 bits are random.
 */
export function uuidv7(now = Date.now(), random: RandomBytes = webRandom): string {
  const bytes = new Uint8Array(16);
  random(bytes);
  if (now > lastMs) {
    lastMs = now;
    lastCount = (((bytes[6] ?? 0) << 8) | (bytes[7] ?? 0)) & 0x7ff;
  } else if (++lastCount > 0xfff) {
    lastMs++;
    lastCount = 0;
  }
  let ms = lastMs;
  for (let i = 5; i >= 0; i--) {
    bytes[i] = ms % 256;
    ms = Math.floor(ms / 256);
  }
  bytes[6] = 0x70 | (lastCount >> 8);
  bytes[7] = lastCount & 0xff;
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
