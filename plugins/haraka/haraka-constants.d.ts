/** The package brings no types; these are the return values that this room uses. */
declare module 'haraka-constants' {
  export const cont: number
  export const deny: number
  export const denysoft: number
  export const ok: number
}
