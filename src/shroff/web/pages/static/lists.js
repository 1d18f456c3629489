// A file that is chosen goes into the field of its form, where it can be looked at before it is sent.

for (const input of document.querySelectorAll("input[type=file][data-into]")) {
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (file) {
      const bytes = await file.arrayBuffer();
      let text;
      try {
        text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      } catch {
        text = new TextDecoder("windows-1252").decode(bytes); // as files are read everywhere
      }
      document.getElementById(input.dataset.into).value = text;
    }
  });
}
