/** @type {import("next").NextConfig} */
export default {
  poweredByHeader: false,
  reactStrictMode: true,
  // The example is complete in its own folder, though others have lock files too.
  turbopack: { root: import.meta.dirname },
};
