class PosthogLlma < Formula
  desc "@DESCRIPTION@"
  homepage "@REPOSITORY@"
  version "@VERSION@"
  license "MIT"

@BLOCKS@
  def install
    bin.install Dir["posthog-llma-*"].first => "posthog-llma"
    generate_completions_from_executable(bin/"posthog-llma", "completions")
    system bin/"posthog-llma", "man", "--out", man1
  end

  test do
    assert_match "events", shell_output("#{bin}/posthog-llma demo")
  end
end
