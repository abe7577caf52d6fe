/** The commands that serve cohorts to other programs. */
import { Command, Flag } from "effect/cli"
import { on, optional, path, text, isNamed } from "./Flags.ts"
import type { MakeCommand } from "./Root.ts"

/** The server for assistants. */
export const serverCommands = (command: MakeCommand) => {
  const mcp = command(
    "mcp",
    {
      http: Flag.Int("http").pipe(
        Flag.withMetavar("PORT"),
        Flag.withDescription("Serve over HTTP on this port; 0 takes any (default: standard input and output)"),
        optional
      ),
      host: text("host", "ADDRESS", "Address to listen on (default: 127.0.0.1)"),
      tokenFile: path("token-file", "FILE", "Where the token is kept (default: ~/.healthsim/mallard-mcp.token)"),
      root: Flag.String("root").pipe(
        Flag.withMetavar("DIR"),
        isNamed,
        Flag.withDescription("Folder that files may be imported from and exported to (may be repeated)"),
        Flag.atLeast(0)
      ),
      readOnly: on("read-only", "Offer no tool that changes anything"),
      allowQuery: on("allow-query", "Offer query_cohort, which answers SQL"),
      oldNames: on("old-names", "Offer the tools by HealthSim's older names too")
    },
    async () => (await import("../commands/Mcp.ts")).runMcp
  ).pipe(
    Command.withDescription("Serve the cohorts to assistants by the Model Context Protocol"),
    Command.withExamples([
      { command: "mallard mcp", description: "What an assistant starts; see docs/mcp.md" },
      { command: "mallard mcp --root ~/cohorts --allow-query", description: "With files of a folder, and SQL" },
      { command: "mallard mcp --http 8765", description: "For several assistants at once" }
    ])
  )

  return [mcp]
}
