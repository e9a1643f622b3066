// What a lost connection means for the next one, by the close code.
//
//   3500        token not accepted: renew it once, then come back
//   3501        the session has ended: log out here
//   3502–3999   do not come back with this page
//   1007, 1009  a frame of ours was refused: come back, but without that frame
//   all others  come back after a while (1001, 1006, 3000–3499 and whatever a proxy says)

export type Verdict = "renew" | "ended" | "stop" | "blame" | "retry";

export function verdictOf(code: number): Verdict {
  if (code === 3500) return "renew";
  if (code === 3501) return "ended";
  if (code >= 3500 && code <= 3999) return "stop";
  if (code === 1007 || code === 1009) return "blame";
  return "retry";
}
