import type { Metadata } from "next";
import type { ReactNode } from "react";

export const metadata: Metadata = { title: "Planner", description: "A small planner behind Phoenix" };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body style={{ fontFamily: "sans-serif", maxWidth: "40rem", margin: "2rem auto" }}>{children}</body>
    </html>
  );
}
