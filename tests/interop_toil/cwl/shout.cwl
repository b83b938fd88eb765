# The lines of a text in capital letters, sorted; the file keeps its name.
cwlVersion: v1.2
class: Workflow
inputs:
  text: File
outputs:
  shouted:
    type: File
    outputSource: sort/sorted
steps:
  raise:
    in:
      text: text
    out: [raised]
    run:
      class: CommandLineTool
      baseCommand: [tr, a-z, A-Z]
      stdin: $(inputs.text.path)
      stdout: $(inputs.text.basename)
      inputs:
        text: File
      outputs:
        raised:
          type: stdout
  sort:
    in:
      text: raise/raised
    out: [sorted]
    run:
      class: CommandLineTool
      baseCommand: sort
      stdout: $(inputs.text.basename)
      inputs:
        text:
          type: File
          inputBinding: {}
      outputs:
        sorted:
          type: stdout
