/** The templates of stored entities: those of the shapes of a database, and those that stand in rows of their own. */
import { parseTemplate, splitFolded, type Template, TemplateProblem } from "@mallard/entity-serializers"
import { type EntityKind } from "@mallard/schema"

/** A shape as the database has it. */
export interface StoredShape {
  readonly id: number
  readonly kind: number
  readonly template: string
  readonly filled: string
}

/** What the text of an entity is made of, its columns and children aside. */
export interface EntityText {
  readonly template: Template
  readonly extra: string | null
}

/** Templates from rows that are kept parsed. */
const MOST_FOLDS = 64

/** Templates of one database, each parsed when it is first asked for. */
export class Templates {
  readonly shapes: ReadonlyMap<number, StoredShape>
  private readonly parsed = new Map<number, Template>()
  /** Templates that stand in rows, as far as few differ. */
  private readonly folds = new Map<string, Template>()

  constructor(shapes: ReadonlyMap<number, StoredShape>) {
    this.shapes = shapes
  }

  /** The template of a shape; throws a `TemplateProblem` when it is none. */
  of(shape: StoredShape): Template {
    let template = this.parsed.get(shape.id)
    if (template === undefined) this.parsed.set(shape.id, (template = parseTemplate(shape.kind, shape.template)))
    return template
  }

  /** A row's template and fragments, or nothing when it has none. */
  ofRow({ code }: EntityKind, shapeId: number, stored: string | null): EntityText | undefined {
    return ifSound(() => {
      if (shapeId === 0) {
        const folded = splitFolded(stored ?? "")
        return { template: this.folded(code, folded.template), extra: folded.extra }
      }
      const shape = this.shapes.get(shapeId)
      return shape?.kind === code ? { template: this.of(shape), extra: stored } : undefined
    })
  }

  private folded(code: number, text: string): Template {
    const key = `${code} ${text}`
    const known = this.folds.get(key)
    if (known !== undefined) return known
    const template = parseTemplate(code, text)
    if (this.folds.size === MOST_FOLDS) this.folds.clear()
    this.folds.set(key, template)
    return template
  }
}

/** A row that does not fit its template has no text. */
export const ifSound = <A>(render: () => A): A | undefined => {
  try {
    return render()
  } catch (problem) {
    if (problem instanceof TemplateProblem) return undefined
    throw problem
  }
}
