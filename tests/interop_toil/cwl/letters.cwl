# Each text shouted and sorted, in a workflow of its own, and all of them together.
cwlVersion: v1.2
class: Workflow
requirements:
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}
inputs:
  texts: File[]
outputs:
  each:
    type: File[]
    outputSource: shout/shouted
  together:
    type: File
    outputSource: join/joined
steps:
  shout:
    run: shout.cwl
    scatter: text
    in:
      text: texts
    out: [shouted]
  join:
    in:
      parts: shout/shouted
    out: [joined]
    run:
      class: CommandLineTool
      baseCommand: cat
      stdout: together.txt
      inputs:
        parts:
          type: File[]
          inputBinding: {}
      outputs:
        joined:
          type: stdout
