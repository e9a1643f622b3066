// The few line icons of the page. They are decoration: whatever shows one carries its own words.

const PATHS = {
  back: "M15 5l-7 7 7 7",
  close: "M6 6l12 12M18 6L6 18",
  compose: "M4 20h4L19 9l-4-4L4 16v4ZM13.5 6.5l4 4",
  down: "M6 9l6 6 6-6",
  info: "M12 11v6M12 7.5v.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z",
  leave: "M14 8V5H5v14h9v-3M10 12h10m-3-3 3 3-3 3",
  pin: "M9 4h6l-1 6 3 3v2H7v-2l3-3-1-6ZM12 15v6",
  muted: "M11 6 7 9.5H4v5h3l4 3.5V6ZM15.5 9.5l5 5M20.5 9.5l-5 5",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  send: "M12 19V5M6 11l6-6 6 6",
  clock: "M12 7v5l3 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z",
  check: "M5 12.5l4.5 4.5L19 7.5",
  checks: "M2.5 12.5L7 17l9-9.5M11.5 16l1 1 9-9.5",
  warning: "M12 8v5M12 16.5v.01M12 3.5 2.5 20h19L12 3.5Z",
  plus: "M12 5v14M5 12h14",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM15.5 15.5 20 20",
} as const;

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="9" />
      <path d="M9.5 11 22 9.5 23 21 11 22.5Z M9.5 11 23 21 M22 9.5 11 22.5" />
      <circle cx="9.5" cy="11" r="3.1" />
      <circle cx="22" cy="9.5" r="2.5" />
      <circle cx="23" cy="21" r="3.1" />
      <circle cx="11" cy="22.5" r="2.5" />
    </svg>
  );
}
